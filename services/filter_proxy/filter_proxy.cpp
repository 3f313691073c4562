#include "services/filter_proxy/filter_proxy.hpp"

#include <algorithm>
#include <optional>
#include <random>

#include "services/filter_proxy/proxy.hpp"
#include "services/net/pool.hpp"
#include "services/net/refusal.hpp"
#include "services/timer_service.hpp"
#include "services/units.hpp"

namespace tap::services {
namespace {

constexpr std::uint64_t kTickMs = 1'000;
/// Rules that a status report tells of, those that have decided most.
constexpr std::size_t kToldRulesMax = 20;
constexpr std::uint64_t kPortMax = 65'535;
constexpr std::size_t kUpstreamsMax = 100'000;
constexpr char kDefaultClients[] = "127.0.0.0/8\n::1";

/// Ours in Via: another one at each start, so that proxies behind each other are not taken for one, and that nobody
/// learns a name.
std::string make_pseudonym() {
  constexpr char kDigits[] = "0123456789abcdef";
  std::random_device random;
  std::string name = "tapd-";
  for (int i = 0; i < 12; ++i) name += kDigits[random() % 16];
  return name;
}

ProxySettings settings_of(const Options& options) {
  ProxySettings settings;
  for (const std::string& text : options.list("allow_clients")) settings.allow_clients.push_back(*Network::parse(text));
  for (const std::string& text : options.list("connect_ports")) {
    settings.connect_ports.push_back(static_cast<std::uint16_t>(*parse_count(text)));
  }
  const auto count = [&](const char* name) { return static_cast<std::size_t>(options.count(name)); };
  settings.upstreams.allow_private = options.boolean("allow_private");
  settings.upstreams.in_all_max = count("upstreams_max");
  settings.upstreams.per_host_max = count("upstreams_per_host");
  settings.upstreams.idle_in_all_max = count("pool_max");
  settings.upstreams.idle_per_host_max = count("pool_per_host");
  settings.upstreams.idle_ms = options.duration_ms("pool_idle");
  settings.upstreams.connect_ms = options.duration_ms("connect_timeout");
  settings.upstreams.tunnel_ms = options.duration_ms("tunnel_timeout");
  settings.response_ms = options.duration_ms("response_timeout");
  settings.transfer_ms = options.duration_ms("transfer_timeout");
  settings.pseudonym = make_pseudonym();
  return settings;
}

class FilterProxyService final : public Service {
 public:
  explicit FilterProxyService(const Options& options)
      : settings_(settings_of(options)),
        rules_path_(options.path("rules")),
        rules_shown_as_(options.text("rules")),
        tick_("proxy", kTickMs, [this] { tick(); }) {}

  [[nodiscard]] StatePort* state() override { return &state_; }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
    return std::make_unique<ProxyProtocol>(*proxy_);
  }
  [[nodiscard]] Result<void> start(net::Reactor& reactor) override;
  void reload() override;
  void stop() override;
  [[nodiscard]] std::vector<std::string> status() const override;

 private:
  void say(LogLevel level, const std::string& message) {
    net::Reactor& reactor = proxy_->reactor();
    reactor.log().write(level, reactor.name_of(account_), message);
  }
  void tick();
  void record();
  void rules_read(const std::optional<Result<RuleSet>>& read);

  StateCell<FilterProxyState> state_{filter_proxy_codec()};
  ProxySettings settings_;
  std::string rules_path_;
  std::string rules_shown_as_;
  net::Reactor::Account account_ = 0;
  std::map<std::string, RuleCounts> unrecorded_;  ///< what the disk had no room for yet
  TimerService tick_;
  net::PoolWork reading_;
  bool read_again_ = false;
  std::uint64_t reloads_ = 0;
  std::unique_ptr<Proxy> proxy_;
};

/// Before the first client: the file may take its time here.
Result<void> FilterProxyService::start(net::Reactor& reactor) {
  RuleSet rules;
  if (!rules_path_.empty()) {
    Result<RuleSet> read = RuleSet::read(rules_path_, rules_shown_as_);
    if (!read) return std::move(read).error();
    rules = std::move(read).value();
  }
  account_ = reactor.charged();
  proxy_ = std::make_unique<Proxy>(reactor, settings_, std::move(rules));
  return tick_.start(reactor);
}

/// In the pool: a long list takes longer to read than a loop may stand still.
void FilterProxyService::reload() {
  if (rules_path_.empty()) return;
  if (reading_.active()) {
    read_again_ = true;
    return;
  }
  const auto read = std::make_shared<std::optional<Result<RuleSet>>>();
  reading_ = net::run_in_pool(
      proxy_->reactor(),
      [read, path = rules_path_, shown_as = rules_shown_as_] { read->emplace(RuleSet::read(path, shown_as)); },
      [this, read](const Result<void>& /*ended*/) {
        rules_read(*read);
        if (std::exchange(read_again_, false)) reload();
      });
}

void FilterProxyService::rules_read(const std::optional<Result<RuleSet>>& read) {
  if (!read) return;  // an exception, which was said
  if (!*read) {
    say(LogLevel::error, "the old rules are kept, the new ones are refused:\n" + (*read).error().message);
    return;
  }
  record();  // what was counted is the old rules'
  proxy_->set_rules(**read);
  ++reloads_;
  say(LogLevel::info, "new rules: " + std::to_string(proxy_->rules().names().size() - 1) + " for " +
                          std::to_string(proxy_->rules().hosts()) + " hosts");
}

void FilterProxyService::tick() {
  proxy_->sweep();
  record();
}

/// Once a second, not with every request: no answer tells a count, so none has to wait until one is durable. A crash
/// forgets a second of them.
void FilterProxyService::record() {
  for (NamedCounts& one : proxy_->take_counted()) unrecorded_[one.rule] += one.counts;
  if (unrecorded_.empty()) return;
  Counted change;
  for (const auto& [rule, counts] : unrecorded_) change.added.push_back({rule, counts});
  if (state_->rules.size() + change.added.size() > FilterProxyState::kCountedRulesMax) {
    const std::vector<std::string>& present = proxy_->rules().names();
    for (const auto& [rule, counts] : state_->rules) {
      if (std::find(present.begin(), present.end(), rule) == present.end()) change.forgotten.push_back(rule);
    }
  }
  try {
    state_.record(change);
  } catch (const net::Refusal&) {
    return;  // the disk is full, which was said; the next tick tries again
  }
  unrecorded_.clear();
}

void FilterProxyService::stop() {
  reading_.cancel();
  tick_.stop();
  record();
  proxy_->stop();
}

std::vector<std::string> FilterProxyService::status() const {
  if (proxy_ == nullptr) return {};
  const ProxyCounts& counts = proxy_->counts();
  const net::HttpCounts& http = proxy_->site().counts();
  std::vector<std::string> lines{
      std::to_string(http.requests) + " requests, " + std::to_string(counts.forwarded) + " sent on (" +
          std::to_string(counts.reused) + " on kept connections, " + std::to_string(counts.retried) + " again), " +
          std::to_string(counts.tunnels) + " tunnels, " + std::to_string(counts.blocked) + " blocked, " +
          std::to_string(counts.refused) + " refused, " + std::to_string(http.refused) + " not understood, " +
          std::to_string(counts.unreachable) + " without an answer",
      std::to_string(proxy_->upstreams().open()) + " connections to origins, " +
          std::to_string(proxy_->upstreams().idle()) + " of them idle; " +
          std::to_string(proxy_->rules().names().size() - 1) + " rules for " + std::to_string(proxy_->rules().hosts()) +
          " hosts, read again " + std::to_string(reloads_) + " times"};
  std::vector<const std::pair<const std::string, RuleCounts>*> told;
  for (const auto& one : state_->rules) told.push_back(&one);
  const auto decided = [](const RuleCounts& one) { return one.connections + one.images + one.cookies; };
  std::stable_sort(told.begin(), told.end(),
                   [&](const auto* a, const auto* b) { return decided(a->second) > decided(b->second); });
  if (told.size() > kToldRulesMax) told.resize(kToldRulesMax);
  for (const auto* one : told) {
    lines.push_back("rule " + one->first + ": " + std::to_string(one->second.connections) + " connections, " +
                    std::to_string(one->second.images) + " images, " + std::to_string(one->second.cookies) +
                    " cookies blocked, " + std::to_string(one->second.passed) + " requests let pass");
  }
  return lines;
}

// --- the kind -----------------------------------------------------------------------------------------------------

Result<void> check_network(const std::string& text) {
  if (Network::parse(text)) return {};
  return Error{Fault::config, "'" + text + "' is neither an address nor a network such as 10.0.0.0/8 or fd00::/8"};
}

Result<void> check_port(const std::string& text) {
  const std::optional<std::uint64_t> port = parse_count(text);
  if (port && *port > 0 && *port <= kPortMax) return {};
  return Error{Fault::config, "'" + text + "' is no port"};
}

Result<void> check_some(const std::string& text) {
  const std::optional<std::uint64_t> count = parse_count(text);
  if (count && *count > 0 && *count <= kUpstreamsMax) return {};
  return Error{Fault::config, "it is a number from 1 to " + std::to_string(kUpstreamsMax)};
}

Result<void> check_timeout(const std::string& text) {
  const std::optional<std::uint64_t> ms = parse_duration_ms(text);
  if (ms && *ms >= kTickMs) return {};
  return Error{Fault::config, "it is at least 1s"};
}

/// A file that can be found whatever directory this runs in is looked at before anything starts.
std::optional<OptionProblem> check_rules(const Options& options, const std::vector<std::string>& /*listen*/) {
  const std::string& path = options.text("rules");
  if (path.empty() || path.front() != '/') return std::nullopt;
  const Result<RuleSet> read = RuleSet::read(path, path);
  if (read || read.error().fault != Fault::config) return std::nullopt;
  return OptionProblem{"rules", read.error().message};
}

}  // namespace

Kind filter_proxy_kind() {
  using Type = OptionSpec::Type;
  Kind kind;
  kind.name = "filter-proxy";
  kind.summary = "an HTTP/1.1 forward proxy that blocks connections, images and cookies by rules per host";
  kind.options = {
      {"rules",
       Type::text,
       {},
       "",
       "a TOML file that says what is blocked; read again at SIGHUP; without it nothing is"},
      {"allow_clients",
       Type::list,
       {},
       kDefaultClients,
       "addresses and networks that clients may come from",
       false,
       check_network},
      {"allow_private",
       Type::boolean,
       {},
       "false",
       "whether requests may go to loopback, private and other addresses that are not public"},
      {"connect_ports", Type::list, {}, "443", "ports that CONNECT may lead to", false, check_port},
      {"connect_timeout", Type::duration, {}, "10s", "for a name and a connection; then 504"},
      {"response_timeout",
       Type::duration,
       {},
       "60s",
       "from a request's end to the head of its answer; then 504",
       false,
       check_timeout},
      {"transfer_timeout",
       Type::duration,
       {},
       "2min",
       "without a byte of a body either way; then it is broken off",
       false,
       check_timeout},
      {"tunnel_timeout", Type::duration, {}, "10min", "without a byte either way a tunnel ends", false, check_timeout},
      {"upstreams_max", Type::count, {}, "1000", "connections to origins at once; then 503", false, check_some},
      {"upstreams_per_host", Type::count, {}, "256", "the same to one host and port", false, check_some},
      {"pool_max", Type::count, {}, "256", "idle connections that are kept for the next request"},
      {"pool_per_host", Type::count, {}, "64", "the same of one host and port"},
      {"pool_idle", Type::duration, {}, "30s", "how long they are kept", false, check_timeout},
  };
  kind.state = &filter_proxy_codec();
  kind.create = [](const Options& options) { return std::make_unique<FilterProxyService>(options); };
  kind.check_together = check_rules;
  return kind;
}

}  // namespace tap::services
