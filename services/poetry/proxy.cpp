#include "services/poetry/proxy.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "services/net/client_endpoint.hpp"
#include "services/net/connector.hpp"
#include "services/net/deferred_tools.hpp"
#include "services/net/refusal.hpp"
#include "services/poetry/fetching.hpp"
#include "services/poetry/proxy_state.hpp"
#include "services/poetry/reciter.hpp"
#include "services/units.hpp"

namespace tap::services {
namespace {

using TextPointer = std::shared_ptr<const std::string>;

class PoetryProxy final : public Service {
 public:
  PoetryProxy(const Options& options, WallClock clock)
      : upstream_(options.text("upstream")),
        directory_(options.directory()),
        limits_{options.size_bytes("size_max"), options.duration_ms("timeout")},
        refresh_ms_(options.duration_ms("refresh")),
        clock_(std::move(clock)) {}

  [[nodiscard]] StatePort* state() override { return &state_; }
  [[nodiscard]] Result<void> start(net::Reactor& reactor) override;
  void stop() override;
  [[nodiscard]] bool requires_clean_end() const override { return true; }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override;
  [[nodiscard]] std::vector<std::string> status() const override;

  /// The poem, when it is there and not too old; else what one fetch for all who wait brings, or the old one when it
  /// fails.
  [[nodiscard]] net::Deferred<TextPointer> get();

  Recitals recitals;

 private:
  /// Makes the protocols of the upstream's side.
  class Upstream final : public net::Factory {
   public:
    explicit Upstream(PoetryProxy& proxy) : proxy_(proxy) {}
    [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
      return std::make_unique<Fetching>(*proxy_.reactor_, proxy_.limits_, std::exchange(proxy_.answer_, {}));
    }

   private:
    PoetryProxy& proxy_;
  };

  [[nodiscard]] std::uint64_t now_ms() const { return clock_() / 1000; }
  [[nodiscard]] bool fresh() const;
  [[nodiscard]] std::size_t waiting() const {
    return static_cast<std::size_t>(
        std::count_if(waiting_.begin(), waiting_.end(), [](const auto& one) { return one.waited_for(); }));
  }
  [[nodiscard]] net::Deferred<void> fetch_for_all();
  [[nodiscard]] net::Deferred<std::string> fetch_in_time();
  [[nodiscard]] net::Deferred<std::string> fetch();
  void keep(std::string poem);

  StateCell<PoetryProxyState> state_{poetry_proxy_codec()};
  std::string upstream_;
  std::string directory_;
  Fetching::Limits limits_;
  std::uint64_t refresh_ms_;
  WallClock clock_;
  net::Reactor* reactor_ = nullptr;
  std::string who_;   ///< the service, for the log
  TextPointer text_;  ///< what is served; those in the middle of an older one keep that
  std::uint64_t text_at_ms_ = 0;
  std::vector<net::DeferredSource<TextPointer>> waiting_;
  std::size_t waiting_checked_ = 0;  ///< at this length it is looked through
  std::uint64_t failures_ = 0;
  Upstream factory_{*this};
  net::DeferredSource<std::string> answer_;  ///< for the protocol that is made next
  std::unique_ptr<net::Connector> connector_;
  net::Deferred<void> fetching_;
};

Result<void> PoetryProxy::start(net::Reactor& reactor) {
  reactor_ = &reactor;
  who_ = reactor.name_of(reactor.charged());
  Result<net::ClientEndpoint> endpoint = net::parse_client_endpoint(upstream_);
  if (!endpoint) return std::move(endpoint).error();
  endpoint->timeout_ms = std::min(endpoint->timeout_ms, limits_.silence_ms_max);
  if (endpoint->tls) endpoint->tls->resolve(directory_);
  Result<std::unique_ptr<net::Connector>> connector = net::Connector::create(reactor, *endpoint, factory_, who_);
  if (!connector) return std::move(connector).error();
  connector_ = std::move(connector).value();
  if (state_->fetched != 0 && state_->upstream == upstream_) {
    text_ = std::make_shared<const std::string>(state_->poem);
    text_at_ms_ = state_->at_ms;
  }
  return {};
}

void PoetryProxy::stop() {
  fetching_ = net::Deferred<void>();
  waiting_.clear();
  connector_.reset();
}

std::vector<std::string> PoetryProxy::status() const {
  const std::string kept = text_ == nullptr ? "no poem"
                                            : "a poem of " + std::to_string(text_->size()) + " bytes, " +
                                                  std::to_string((now_ms() - text_at_ms_) / 1000) + " s old";
  return {"proxy: " + kept + ", " + std::to_string(state_->fetched) + " fetched, " + std::to_string(failures_) +
              " fetches failed, " + std::to_string(waiting()) + " clients wait for one",
          "poem: " + recitals.text()};
}

bool PoetryProxy::fresh() const {
  if (text_ == nullptr) return false;
  const std::uint64_t now = now_ms();
  return refresh_ms_ == 0 || (now >= text_at_ms_ && now - text_at_ms_ < refresh_ms_);
}

net::Deferred<TextPointer> PoetryProxy::get() {
  if (fresh()) return net::answered<TextPointer>(text_);
  if (waiting_.size() >= waiting_checked_) {  // those who have left cost nothing: half of it at most
    std::erase_if(waiting_, [](const auto& one) { return !one.waited_for(); });
    waiting_checked_ = std::max<std::size_t>(2 * waiting_.size(), 64);
  }
  waiting_.emplace_back();
  net::Deferred<TextPointer> answer = waiting_.back().deferred();
  if (fetching_.done()) fetching_ = fetch_for_all();
  return answer;
}

net::Deferred<void> PoetryProxy::fetch_for_all() {
  Result<std::string> poem = co_await fetch_in_time();
  if (poem) {
    keep(std::move(poem).value());
  } else {
    ++failures_;
    const char* instead = text_ == nullptr ? "its clients get nothing" : "the old one is told";
    reactor_->log().write(
        LogLevel::warning, who_,
        "fetching the poem: " + poem.error().message + "; " + instead + " (" + std::to_string(waiting()) + " wait)");
  }
  std::vector<net::DeferredSource<TextPointer>> waiting = std::exchange(waiting_, {});
  for (net::DeferredSource<TextPointer>& one : waiting) {
    if (text_ != nullptr) one.callback(text_);
    else one.errback(Error{Fault::unavailable, "there is no poem"});
  }
}

net::Deferred<std::string> PoetryProxy::fetch_in_time() {
  return net::with_timeout(*reactor_, kPoetryProxyFetchMsMax, fetch());
}

net::Deferred<std::string> PoetryProxy::fetch() {
  answer_ = net::DeferredSource<std::string>();
  net::Deferred<std::string> poem = answer_.deferred();
  Result<net::Protocol*> made = co_await connector_->connect();
  if (!made) co_return std::move(made).error();
  Result<std::string> fetched = co_await std::move(poem);
  if (!fetched) co_return std::move(fetched.error()).with(upstream_);
  co_return fetched;
}

/// The clients get the poem in any case; that it is kept is a promise to those who come later.
void PoetryProxy::keep(std::string poem) {
  text_at_ms_ = now_ms();
  text_ = std::make_shared<const std::string>(std::move(poem));
  try {
    state_.record(PoemFetched{upstream_, *text_, text_at_ms_});
  } catch (const net::Refusal& refusal) {
    reactor_->log().write(LogLevel::warning, who_,
                          std::string("the poem will not survive the process: ") + refusal.what());
  }
}

class ProxiedPoem final : public Reciter {
 public:
  explicit ProxiedPoem(PoetryProxy& proxy) : Reciter(proxy.recitals), proxy_(proxy) {}

  [[nodiscard]] bool owes_answer() const override { return text_ != nullptr && reciting(); }
  void service_stops() override {
    if (text_ == nullptr) cut();
  }

 private:
  [[nodiscard]] net::Deferred<void> recite() override {
    Result<TextPointer> text = co_await proxy_.get();
    if (!text) {
      cut();
      co_return;
    }
    text_ = std::move(text).value();
    const Result<void> written = co_await write_all(*text_);
    if (written) finish();
  }

  PoetryProxy& proxy_;
  TextPointer text_;
};

std::unique_ptr<net::Protocol> PoetryProxy::build_protocol() { return std::make_unique<ProxiedPoem>(*this); }

Result<void> check_upstream(const std::string& text) {
  const Result<net::ClientEndpoint> endpoint = net::parse_client_endpoint(text);
  if (!endpoint) return endpoint.error();
  if (endpoint->type == net::ClientEndpoint::Type::tcp) return {};
  return Error{Fault::config, "'" + text + "' is a UNIX socket, where a poem that breaks off looks like a whole one"};
}

Result<void> check_timeout(const std::string& text) {
  const std::uint64_t ms = parse_duration_ms(text).value_or(0);
  if (ms >= 1 && ms <= kPoetryProxyTimeoutMsMax) return {};
  return Error{Fault::config, "'" + text + "' is not from 1ms to " + duration_text(kPoetryProxyTimeoutMsMax)};
}

Result<void> check_size_max(const std::string& text) {
  const std::uint64_t bytes = parse_size_bytes(text).value_or(0);
  if (bytes >= 1 && bytes <= kPoetryProxyBytesMax) return {};
  return Error{Fault::config, "'" + text + "' is not from 1 to " + size_text(kPoetryProxyBytesMax)};
}

}  // namespace

Kind poetry_proxy_kind(WallClock clock) {
  Kind kind;
  kind.name = "poetry-proxy";
  kind.summary = "fetches a poem from another poetry server, keeps it, and tells it to whoever connects";
  OptionSpec upstream{
      "upstream", OptionSpec::Type::text, {}, "tcp:poems.example.org:10000", "where the poem is fetched"};
  upstream.required = true;
  upstream.check = check_upstream;
  OptionSpec timeout{"timeout", OptionSpec::Type::duration, {}, "10s", "a fetch without a byte for so long has failed"};
  timeout.check = check_timeout;
  OptionSpec size_max{"size_max", OptionSpec::Type::size, {}, "1MiB", "a longer poem is not taken; at most 16MiB"};
  size_max.check = check_size_max;
  kind.options = {
      upstream,
      timeout,
      size_max,
      {"refresh",
       OptionSpec::Type::duration,
       {},
       "0",
       "a poem that is so old is fetched again for the next client, and told as it is when that fails; 0: never"}};
  kind.state = &poetry_proxy_codec();
  kind.create = [clock = std::move(clock)](const Options& options) {
    return std::make_unique<PoetryProxy>(options, clock);
  };
  return kind;
}

}  // namespace tap::services
