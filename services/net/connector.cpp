#include "services/net/connector.hpp"

namespace tap::net {

// --- one attempt ------------------------------------------------------------------------------------------------

Connecting::Connecting(Connector& connector, std::uint64_t number, Done done)
    : connector_(connector), number_(number), done_(std::move(done)) {}

Connecting::~Connecting() {
  connector_.under_way_.erase(number_);
  abandon();
}

void Connecting::begin() {
  const ClientEndpoint& endpoint = connector_.endpoint_;
  deadline_ = connector_.reactor_.call_later(endpoint.timeout_ms, [this] {
    finish(Error{Fault::unavailable,
                 "no connection within " + std::to_string(connector_.endpoint_.timeout_ms) + " ms (timeout)"});
  });
  if (endpoint.type == ClientEndpoint::Type::unix_socket) {
    race(std::vector<SocketAddress>{SocketAddress::unix_socket(endpoint.path)});
    return;
  }
  resolving_.emplace(connector_.reactor_, endpoint.host, endpoint.port,
                     [this](Result<std::vector<SocketAddress>> addresses) { race(std::move(addresses)); });
}

void Connecting::race(Result<std::vector<SocketAddress>> addresses) {
  if (!addresses) {
    finish(std::move(addresses).error());
    return;
  }
  std::optional<SocketAddress> from;
  const std::string& bind_address = connector_.endpoint_.bind_address;
  if (!bind_address.empty()) from = SocketAddress::numeric(bind_address, 0);
  race_.emplace(connector_.reactor_, *addresses, from, [this](Result<Fd> connected) { start(std::move(connected)); });
}

void Connecting::start(Result<Fd> connected) {
  if (!connected) {
    finish(std::move(connected).error());
    return;
  }
  const bool tcp = connector_.endpoint_.type == ClientEndpoint::Type::tcp;
  const bool plain = connector_.tls_ == nullptr;
  connector_.starting_ = this;
  connector_.built_ = nullptr;
  const std::uint64_t number = number_;
  Connector& connector = connector_;
  Result<void> adopted =
      connector.connections_.adopt(std::move(connected).value(), tcp ? StreamKind::tcp : StreamKind::unix_socket);
  // A handshake can fail, and whoever hears of it drop us, within that call.
  connector.starting_ = nullptr;
  if (!adopted) connector.settle(number, std::move(adopted).error());
  else if (plain) connector.settle(number, connector.built_);
}

/// The last thing this object does: `done` may drop it.
void Connecting::finish(Result<Protocol*> result) {
  connector_.under_way_.erase(number_);
  abandon();
  if (!result) result = std::move(result.error()).with("connecting to " + connector_.endpoint_.text);
  const Done done = std::move(done_);
  connector_.reactor_.guarded(connector_.place_.service, [&] { done(std::move(result)); });
}

void Connecting::abandon() {
  deadline_.cancel();
  if (TlsLayer* layer = std::exchange(shaking_hands_, nullptr)) layer->abandon();
}

// --- the connector ----------------------------------------------------------------------------------------------

Connector::Connector(Reactor& reactor, ClientEndpoint endpoint, Factory& factory, std::string service, Gate* gate)
    : reactor_(reactor),
      endpoint_(std::move(endpoint)),
      place_{reactor, factory, service},
      layers_(*this),
      connections_(reactor, layers_, std::move(service), {}, gate) {}

Connector::~Connector() { TAP_ASSERT(under_way_.empty()); }

Result<std::unique_ptr<Connector>> Connector::create(Reactor& reactor, const ClientEndpoint& endpoint, Factory& factory,
                                                     std::string service, Gate* gate) {
  std::unique_ptr<Connector> connector(new Connector(reactor, endpoint, factory, std::move(service), gate));
  if (!endpoint.tls) return connector;
  Result<std::unique_ptr<TlsClient>> tls = TlsClient::load(*endpoint.tls);
  if (!tls) return std::move(tls.error()).with("endpoint '" + endpoint.text + "'");
  connector->tls_ = std::move(tls).value();
  return connector;
}

std::unique_ptr<Connecting> Connector::connect(Done done) {
  std::unique_ptr<Connecting> attempt(new Connecting(*this, ++attempts_, std::move(done)));
  under_way_.emplace(attempts_, attempt.get());
  attempt->begin();
  return attempt;
}

namespace {

/// An attempt of a Connector, as something that is made and dropped.
class Attempt {
 public:
  Attempt(Connector& connector, Connecting::Done done) : connecting_(connector.connect(std::move(done))) {}

 private:
  std::unique_ptr<Connecting> connecting_;
};

}  // namespace

Deferred<Protocol*> Connector::connect() {
  return Deferred<Protocol*>(*new deferred::OperationCore<Protocol*, Attempt>(*this));
}

/// Whoever has dropped the attempt meanwhile does not want to hear of it.
void Connector::settle(std::uint64_t number, Result<Protocol*> result) {
  const auto found = under_way_.find(number);
  if (found == under_way_.end()) return;
  found->second->shaking_hands_ = nullptr;
  found->second->finish(std::move(result));
}

std::unique_ptr<Protocol> Connector::Layers::build_protocol() {
  Connector& connector = connector_;
  if (connector.tls_ == nullptr) {
    std::unique_ptr<Protocol> made = connector.place_.above.build_protocol();
    connector.built_ = made.get();
    return made;
  }
  Result<TlsSession> session = connector.tls_->make_session();
  if (!session) {
    connector.reactor_.log().write(LogLevel::error, connector.place_.service, session.error().message);
    return nullptr;
  }
  const std::uint64_t number = connector.starting_->number_;
  auto layer = std::make_unique<TlsLayer>(
      connector.place_, std::move(session).value(),
      [&connector, number](Result<Protocol*> result) { connector.settle(number, std::move(result)); });
  connector.starting_->shaking_hands_ = layer.get();
  return layer;
}

}  // namespace tap::net
