#include "services/net/reconnecting_client.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace tap::net {

/// Passes everything on and tells the client of the loss: the protocol itself is the service's own business.
class ReconnectingClient::Watched final : public Layer {
 public:
  Watched(const LayerPlace& place, ReconnectingClient& client) : Layer(place), client_(&client) {}

  void connection_made() override { (void)open_above(); }
  void connection_lost(const Error& reason) override {
    Layer::connection_lost(reason);
    if (client_ != nullptr) client_->lost(*this);
  }
  [[nodiscard]] Protocol* protocol() const { return above(); }
  void end() { lose_connection(); }
  void forget_client() { client_ = nullptr; }

 private:
  void consume(std::string_view& data) override {
    if (!paused() && !data.empty()) deliver(std::exchange(data, {}));
  }

  ReconnectingClient* client_;
};

class ReconnectingClient::WatchedFactory final : public Factory {
 public:
  WatchedFactory(LayerPlace place, ReconnectingClient& client) : place_(std::move(place)), client_(client) {}
  [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override {
    return std::make_unique<Watched>(place_, client_);
  }

 private:
  LayerPlace place_;
  ReconnectingClient& client_;
};

ReconnectingClient::Waiter::~Waiter() {
  if (client_ != nullptr) client_->waiters_.erase(place_);
}

namespace {

ReconnectingClient::Random chance() {
  return [source = std::minstd_rand(std::random_device{}())]() mutable {
    return std::uniform_real_distribution<double>(0.0, 1.0)(source);
  };
}

}  // namespace

ReconnectingClient::ReconnectingClient(Reactor& reactor, std::string service, ReconnectPolicy policy)
    : reactor_(reactor), service_(std::move(service)), policy_(policy), random_(chance()) {}

Result<std::unique_ptr<ReconnectingClient>> ReconnectingClient::create(Reactor& reactor, const ClientEndpoint& endpoint,
                                                                       Factory& factory, std::string service,
                                                                       ReconnectPolicy policy, Gate* gate) {
  std::unique_ptr<ReconnectingClient> client(new ReconnectingClient(reactor, service, policy));
  client->factory_ = std::make_unique<WatchedFactory>(LayerPlace{reactor, factory, service}, *client);
  Result<std::unique_ptr<Connector>> connector =
      Connector::create(reactor, endpoint, *client->factory_, std::move(service), gate);
  if (!connector) return std::move(connector).error();
  client->connector_ = std::move(connector).value();
  return client;
}

ReconnectingClient::~ReconnectingClient() {
  state_ = State::idle;
  if (connection_ != nullptr) std::exchange(connection_, nullptr)->forget_client();
  for (Waiter* waiter : waiters_) waiter->client_ = nullptr;
}

void ReconnectingClient::start() {
  if (state_ == State::running) return;
  stopped_ = nullptr;
  stopping_.cancel();
  failures_ = 0;
  state_ = State::running;
  // A connection that a stop was ending goes its way; the next one follows it.
  if (connection_ == nullptr) retry_ = reactor_.call_later(0, [this] { attempt(); });
}

void ReconnectingClient::stop(std::function<void()> stopped) {
  stopped_ = std::move(stopped);
  state_ = State::stopping;
  retry_.cancel();
  connecting_.reset();
  why_none_ = "it was stopped";
  tell_soon();
  ending_ = connection_ != nullptr;
  if (ending_) connection_->end();
  else stopping_ = reactor_.call_later(0, [this] { end_stop(); });
}

void ReconnectingClient::end_stop() {
  state_ = State::idle;
  if (const auto stopped = std::exchange(stopped_, nullptr)) reactor_.guarded(service_, stopped);
}

void ReconnectingClient::attempt() {
  connecting_ = connector_->connect([this](Result<Protocol*> result) { connected(std::move(result)); });
}

void ReconnectingClient::connected(Result<Protocol*> result) {
  if (!result) {
    retry_or_give_up(result.error().message);
    return;
  }
  connection_ = static_cast<Watched*>(*result);
  connected_ms_ = reactor_.now_ms();
  tell_soon();
}

void ReconnectingClient::lost(Watched& connection) {
  if (connection_ != &connection) return;  // it was lost before it was told as made
  connection_ = nullptr;
  const bool ended_by_us = std::exchange(ending_, false);
  if (state_ == State::stopping) stopping_ = reactor_.call_later(0, [this] { end_stop(); });
  if (state_ != State::running) return;
  if (ended_by_us) {
    retry_ = reactor_.call_later(0, [this] { attempt(); });
    return;
  }
  if (reactor_.now_ms() - connected_ms_ >= policy_.stable_ms) failures_ = 0;
  retry_or_give_up("the connection to " + connector_->endpoint().text + " was lost");
}

/// Said once when it begins to fail, and when it gives up; each attempt would be a line a minute for
/// as long as it lasts.
void ReconnectingClient::retry_or_give_up(const std::string& why) {
  ++failures_;
  if (policy_.attempts_max != 0 && failures_ >= policy_.attempts_max) {
    state_ = State::idle;
    why_none_ = "it has given up after " + std::to_string(failures_) + " attempts; the last: " + why;
    reactor_.log().write(LogLevel::error, service_, why_none_);
    tell_soon();
    return;
  }
  const std::uint64_t wait = wait_ms();
  if (failures_ == 1) {
    reactor_.log().write(LogLevel::warning, service_, why + "; it is tried again in " + std::to_string(wait) + " ms");
  }
  retry_ = reactor_.call_later(wait, [this] { attempt(); });
}

std::uint64_t ReconnectingClient::wait_ms() {
  const double grown =
      static_cast<double>(policy_.first_ms) * std::pow(policy_.factor, static_cast<double>(failures_ - 1));
  const double bounded = std::min(grown, static_cast<double>(policy_.most_ms));
  return static_cast<std::uint64_t>(bounded * (1 + policy_.jitter * (2 * random_() - 1)));
}

Protocol* ReconnectingClient::current() const {
  const bool there = connection_ != nullptr && !ending_ && state_ == State::running;
  return there ? connection_->protocol() : nullptr;
}

std::unique_ptr<ReconnectingClient::Waiter> ReconnectingClient::when_connected(Connected told) {
  std::unique_ptr<Waiter> waiter(new Waiter(std::move(told)));
  waiter->client_ = this;
  waiter->place_ = waiters_.insert(waiters_.end(), waiter.get());
  if (current() != nullptr || state_ != State::running || waiters_.size() > kWaitersMax) tell_soon();
  return waiter;
}

void ReconnectingClient::tell_soon() {
  if (!waiters_.empty() && !telling_.active()) telling_ = reactor_.call_later(0, [this] { tell_waiters(); });
}

/// Whoever is told may drop himself, others, or the connection.
void ReconnectingClient::tell_waiters() {
  for (std::size_t left = waiters_.size(); left != 0 && !waiters_.empty(); --left) {
    Protocol* protocol = current();
    const bool too_many = waiters_.size() > kWaitersMax;
    if (protocol == nullptr && state_ == State::running && !too_many) return;  // lost again: they go on waiting
    // The newest are too many, the oldest have waited longest.
    Waiter* waiter = protocol == nullptr && too_many && state_ == State::running ? waiters_.back() : waiters_.front();
    waiters_.erase(waiter->place_);
    waiter->client_ = nullptr;
    const Connected told = std::move(waiter->told_);
    Result<Protocol*> result = protocol;
    if (protocol == nullptr) {
      result = state_ == State::running
                   ? Error{Fault::temporary, "more than " + std::to_string(kWaitersMax) + " wait for the connection"}
                   : Error{Fault::unavailable,
                           "there is no connection to " + connector_->endpoint().text + ": " + why_none_};
    }
    reactor_.guarded(service_, [&] { told(std::move(result)); });
  }
}

}  // namespace tap::net
