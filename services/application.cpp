#include "services/application.hpp"

#include <unistd.h>

#include <algorithm>

#include "services/limits.hpp"
#include "services/net/address.hpp"
#include "services/net/haproxy_layer.hpp"
#include "services/net/tls_layer.hpp"

namespace tap::services {
namespace {

/// A service that takes longer to stop holds up all others; the log says so.
constexpr std::uint64_t kSlowStopMs = 1000;

}  // namespace

Result<state::Archive> initial_archive(const state::Definition& definition, const Registry& kinds) {
  state::Archive archive;
  archive.lineage = state::Lineage::make();
  archive.created_ms = state::wall_clock_ms();
  archive.writer = state::writer_name();
  archive.definition = definition;
  for (const state::ServiceDefinition& service : definition.services) {
    const Kind* kind = kinds.find(service.kind);
    if (kind == nullptr) return Error{Fault::config, kinds.unknown(service.kind)};
    if (kind->state == nullptr) continue;
    Result<Bytes> payload = kind->state->initial();
    if (!payload) return std::move(payload.error()).with(service.name);
    archive.sections.push_back({service.name, service.kind, kind->state->schema_version(), state::PayloadCodec::cereal,
                                std::move(payload).value()});
  }
  return archive;
}

Application::Application(state::Definition definition, net::Reactor& reactor)
    : definition_(std::move(definition)), reactor_(reactor) {}

Application::~Application() { stop(); }

Result<std::unique_ptr<Application>> Application::create(state::Definition definition, const Registry& kinds,
                                                         net::Reactor& reactor, const std::string& directory) {
  std::unique_ptr<Application> application(new Application(std::move(definition), reactor));
  if (const std::uint64_t bytes = limit_of(application->definition_.limits, "memory_budget"); bytes != 0) {
    application->budget_ = std::make_unique<net::MemoryBudget>(reactor, static_cast<std::size_t>(bytes));
  }
  for (const state::ServiceDefinition& service : application->definition_.services) {
    const Kind* kind = kinds.find(service.kind);
    if (kind == nullptr) return Error{Fault::config, "service '" + service.name + "': " + kinds.unknown(service.kind)};
    Result<Options> options = kind->check(service.options, service.listen);
    if (!options) return std::move(options.error()).with("service '" + service.name + "'");
    options->set_durability(durability_of(application->definition_, service));
    options->set_directory(directory);
    Running running;
    running.name = service.name;
    running.number = static_cast<std::uint16_t>(application->running_.size());
    running.account = reactor.open_account(service.name);
    if (const std::uint64_t rate = limit_of(service.limits, "read_rate_total"); rate != 0) {
      running.read_total = std::make_unique<net::TokenBucket>(rate, rate);
    }
    running.service = kind->create(*options);
    application->running_.push_back(std::move(running));
  }
  return application;
}

namespace {

Error other_kind(const std::string& service, const std::string& wanted, const std::string& saved) {
  return Error{Fault::config, "service '" + service + "' is of kind '" + wanted +
                                  "', but the state saved under this name is of kind '" + saved +
                                  "'; give the new service another name"};
}

}  // namespace

Application::Running* Application::find(std::string_view service) {
  const auto found =
      std::find_if(running_.begin(), running_.end(), [&](const Running& running) { return running.name == service; });
  return found == running_.end() ? nullptr : &*found;
}

Result<void> Application::restore(const state::Archive& archive) {
  for (Running& running : running_) {
    const state::ServiceDefinition& wanted = definition_.services[running.number];
    StatePort* state = running.service->state();
    if (const state::Section* section = archive.find(wanted.name)) {
      if (section->kind != wanted.kind) return other_kind(wanted.name, wanted.kind, section->kind);
      if (state == nullptr) continue;
      if (Result<void> restored = state->restore(section->payload, section->schema_version); !restored) {
        return std::move(restored.error()).with("the state of service '" + wanted.name + "'");
      }
    }
    if (state == nullptr) continue;
    if (Result<void> replayed = replay_pending(running, archive); !replayed) return replayed;
  }
  for (const state::Section& section : archive.pending) {
    const Running* running = find(section.service);
    if (running == nullptr || running->service->state() == nullptr) pending_.push_back(section);
  }
  return {};
}

/// What was journaled before the service left the config, and was not folded in since.
Result<void> Application::replay_pending(Running& running, const state::Archive& archive) {
  for (const state::Section& section : archive.pending) {
    if (section.service != running.name) continue;
    ByteReader reader(section.payload);
    while (reader.left() > 0) {
      const state::Record record = state::read_record(reader);
      if (!reader.ok())
        return Error{Fault::damaged, "the kept records of service '" + section.service + "' are cut off"};
      Result<void> replayed =
          replay({section.schema_version, section.service, section.kind}, record.type, record.payload);
      if (!replayed) return replayed;
    }
  }
  return {};
}

Result<void> Application::replay(const state::Introduction& of, state::RecordType type, ByteView payload) {
  Running* running = find(of.service);
  if (running == nullptr || running->service->state() == nullptr) {
    const bool goes_on = !pending_.empty() && pending_.back().service == of.service &&
                         pending_.back().kind == of.kind && pending_.back().schema_version == of.schema_version;
    if (!goes_on) {
      pending_.push_back({of.service, of.kind, of.schema_version, state::PayloadCodec::cereal, Bytes()});
    }
    state::append_record(pending_.back().payload, type, 0, payload);
    return {};
  }
  const std::string& wanted = definition_.services[running->number].kind;
  if (of.kind != wanted) return other_kind(of.service, wanted, of.kind);
  if (Result<void> replayed = running->service->state()->replay(type, payload, of.schema_version); !replayed) {
    return std::move(replayed.error()).with("a change of service '" + of.service + "'");
  }
  return {};
}

Result<void> Application::settle() {
  for (const Running& running : running_) {
    StatePort* state = running.service->state();
    if (state == nullptr) continue;
    if (Result<void> settled = state->settle(); !settled) {
      return std::move(settled.error()).with("the state of service '" + running.name + "'");
    }
  }
  return {};
}

bool Application::journaled() const {
  return std::any_of(running_.begin(), running_.end(), [this](const Running& running) {
    return running.service->state() != nullptr &&
           durability_of(definition_, definition_.services[running.number]).journaled();
  });
}

bool Application::all_journaled() const {
  return std::all_of(running_.begin(), running_.end(), [this](const Running& running) {
    return running.service->state() == nullptr ||
           durability_of(definition_, definition_.services[running.number]).journaled();
  });
}

std::vector<state::Introduction> Application::introductions() const {
  std::vector<state::Introduction> all;
  for (const Running& running : running_) {
    const StatePort* state = running.service->state();
    all.push_back(
        {state == nullptr ? 1 : state->schema_version(), running.name, definition_.services[running.number].kind});
  }
  return all;
}

void Application::journal(Committer& committer) {
  committer_ = &committer;
  for (Running& running : running_) {
    StatePort* state = running.service->state();
    const Durability durability = durability_of(definition_, definition_.services[running.number]);
    if (state != nullptr && durability.journaled()) committer.add(running.number, *state, durability);
  }
}

net::Gate* Application::gate_of(const Running& running) const {
  return committer_ == nullptr ? nullptr : committer_->gate(running.number);
}

Result<void> Application::start(std::vector<ServiceSocket> sockets) {
  for (Running& running : running_) {
    Result<void> result;
    const bool returned = reactor_.guarded(running.account, [&] { result = running.service->start(reactor_); });
    if (!returned) result = Error{Fault::internal, "it threw an exception"};
    if (!result) {
      stop();
      return std::move(result.error()).with("starting service '" + running.name + "'");
    }
    ++started_;
  }
  for (const ServiceSocket& socket : sockets) {
    if (socket.datagram) datagram_ports_.push_back(net::local_port(socket.fd.get()));
  }
  for (ServiceSocket& socket : sockets) {
    const auto owner = std::find_if(running_.begin(), running_.end(),
                                    [&](const Running& running) { return running.name == socket.service; });
    TAP_ASSERT(owner != running_.end());
    const std::string text = socket.text;
    if (Result<void> opened = open(*owner, std::move(socket)); !opened) {
      stop();
      return std::move(opened.error()).with("service '" + owner->name + "', " + text);
    }
  }
  watch_stdio();
  return {};
}

/// What makes the protocols of this socket's connections: the service, behind what its endpoint puts before it.
net::Factory& Application::layered(Running& running, ServiceSocket& socket) {
  net::Factory* outermost = &running.service->factory_for(socket.endpoint);
  const auto put_before = [&](std::unique_ptr<net::Factory> layer) {
    outermost = layer.get();
    running.layers.push_back(std::move(layer));
  };
  if (socket.tls != nullptr) {
    net::TlsServer& keys = *running.keys.emplace_back(std::move(socket.tls));
    put_before(std::make_unique<net::TlsServerFactory>(net::LayerPlace{reactor_, *outermost, running.name}, keys));
  }
  if (socket.proxied) {
    put_before(std::make_unique<net::HaproxyFactory>(net::LayerPlace{reactor_, *outermost, running.name}));
  }
  return *outermost;
}

Result<void> Application::open(Running& running, ServiceSocket socket) {
  if (socket.datagram) return open_datagrams(running, std::move(socket.fd));
  const state::ServiceDefinition& definition = *definition_.find(running.name);
  net::ListenerLimits limits = listener_limits(definition);
  limits.clean_end = running.service->requires_clean_end();
  if (!socket.fd.open()) return open_stdio(running, limits);
  auto listener =
      std::make_unique<net::Listener>(reactor_, layered(running, socket), running.name, limits, gate_of(running));
  listener->connections().share(shared_limits(running));
  if (Result<void> listening = listener->listen(std::move(socket.fd), socket.kind, socket.backlog); !listening) {
    return listening;
  }
  running.listeners.push_back(std::move(listener));
  return {};
}

Result<void> Application::open_datagrams(Running& running, Fd bound) {
  std::unique_ptr<net::DatagramProtocol> protocol;
  const bool returned =
      reactor_.guarded(running.account, [&] { protocol = running.service->build_datagram_protocol(); });
  if (!returned || protocol == nullptr) return Error{Fault::internal, "it has no protocol for datagrams"};
  auto transport = std::make_unique<net::UdpTransport>(reactor_, running.name, std::move(protocol), datagram_ports_,
                                                       gate_of(running));
  if (Result<void> opened = transport->open(std::move(bound)); !opened) return opened;
  running.datagrams.push_back(std::move(transport));
  return {};
}

net::SharedLimits Application::shared_limits(const Running& running) const {
  return {running.account, running.read_total.get(), budget_.get()};
}

Result<void> Application::open_stdio(Running& running, const net::ListenerLimits& limits) {
  running.bridge = std::make_unique<net::StdioBridge>();
  Result<Fd> end = running.bridge->open(STDIN_FILENO, STDOUT_FILENO);
  if (!end) return std::move(end).error();
  running.stdio = std::make_unique<net::ConnectionSet>(reactor_, running.service->factory_for("stdio:"), running.name,
                                                       limits, gate_of(running));
  running.stdio->share(shared_limits(running));
  if (Result<void> adopted = running.stdio->adopt(std::move(end).value(), net::StreamKind::unix_socket); !adopted) {
    return adopted;
  }
  return {};
}

/// With no port open, the end of standard input is the end of all work.
void Application::watch_stdio() {
  const bool ports = std::any_of(running_.begin(), running_.end(), [](const Running& running) {
    return !running.listeners.empty() || !running.datagrams.empty();
  });
  if (ports) return;
  for (Running& running : running_) {
    if (!running.stdio) continue;
    running.stdio->when_empty([this] {
      if (stdio_ended_) stdio_ended_();
    });
  }
}

void Application::drain(std::function<void()> done) {
  drained_ = std::move(done);
  winding_ = running_.size();
  draining_ = 1;  // this call itself, so that `done` cannot come before all have been asked
  for (Running& running : running_) {
    for (const auto& listener : running.listeners) {
      ++draining_;
      listener->drain([this] { one_drained(); });
    }
    for (const auto& port : running.datagrams) {
      ++draining_;
      port->drain([this] { one_drained(); });
    }
    if (running.stdio) {
      ++draining_;
      running.stdio->drain([this] { one_drained(); });
    }
  }
  none_to_drain_ = reactor_.call_later(0, [this] { one_drained(); });
}

void Application::one_drained() {
  if (--draining_ == 0) wind_down_next();
}

/// Asks the services one after the other, last first: a service may need those before it until its end.
void Application::wind_down_next() {
  is_winding_ = false;
  while (winding_ > 0) {
    Running& running = running_[--winding_];
    // Said at once or later, it goes on in a turn of its own.
    const auto ended = [this] { wound_down_ = reactor_.call_later(0, [this] { wind_down_next(); }); };
    reactor_.guarded(running.account, [&] { is_winding_ = running.service->wind_down(ended); });
    if (is_winding_) return;
  }
  if (drained_) std::exchange(drained_, nullptr)();
}

std::vector<std::string> Application::waits_for() const {
  std::vector<std::string> who;
  for (const Running& running : running_) {
    std::size_t open = 0;
    std::string peer;
    const auto look = [&](net::ConnectionSet& connections) {
      open += connections.counts().open;
      if (peer.empty()) peer = connections.some_peer();
    };
    for (const auto& listener : running.listeners) look(listener->connections());
    if (running.stdio) look(*running.stdio);
    if (open != 0) {
      who.push_back("service '" + running.name + "': " + std::to_string(open) + " connections, one of them of " + peer);
    }
  }
  if (is_winding_) who.push_back("service '" + running_[winding_].name + "' has not wound down");
  return who;
}

void Application::abort_connections() {
  for (Running& running : running_) {
    for (const auto& listener : running.listeners) listener->connections().abort_all();
    for (const auto& port : running.datagrams) port->close();
    if (running.stdio) running.stdio->abort_all();
  }
}

void Application::abandon_output() {
  for (Running& running : running_) {
    if (running.bridge) running.bridge->abandon();
  }
}

void Application::stop() {
  drained_ = nullptr;
  wound_down_.cancel();
  winding_ = 0;
  is_winding_ = false;
  while (started_ > 0) {
    Running& running = running_[--started_];
    // A service is stopped after the last of its connections.
    running.listeners.clear();
    running.datagrams.clear();
    running.stdio.reset();  // its bridge stays until the state is saved: standard output may be slow
    const std::uint64_t began_ms = reactor_.now_ms();
    reactor_.guarded(running.account, [&] { running.service->stop(); });
    const std::uint64_t took_ms = reactor_.now_ms() - began_ms;
    if (took_ms < kSlowStopMs) continue;
    reactor_.log().write(LogLevel::warning, running.name,
                         "its stop held up everybody for " + std::to_string(took_ms) + " ms");
  }
}

Result<state::Archive> Application::collect(const std::optional<state::StoredArchive>& previous, std::uint64_t base_lsn,
                                            std::uint64_t epoch) const {
  state::Archive next;
  if (previous) {
    next = state::successor_without_states(previous->archive, previous->digest);
  } else {
    next.lineage = state::Lineage::make();
    next.created_ms = state::wall_clock_ms();
    next.writer = state::writer_name();
  }
  next.base_lsn = base_lsn;
  next.epoch = epoch;
  next.definition = definition_;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    const StatePort* state = running_[i].service->state();
    if (state == nullptr) continue;
    Result<Bytes> payload = state->save();
    if (!payload) return std::move(payload.error()).with("the state of service '" + running_[i].name + "'");
    next.sections.push_back({running_[i].name, definition_.services[i].kind, state->schema_version(),
                             state::PayloadCodec::cereal, std::move(payload).value()});
  }
  if (previous) {
    for (const state::Section& section : previous->archive.sections) {
      if (definition_.find(section.service) == nullptr) next.sections.push_back(section);
    }
  }
  next.pending = pending_;
  return next;
}

void Application::reload() {
  for (std::size_t i = 0; i < started_; ++i) {
    reactor_.guarded(running_[i].account, [&] { running_[i].service->reload(); });
  }
}

namespace {

std::string datagram_text(const std::vector<std::unique_ptr<net::UdpTransport>>& ports) {
  net::DatagramCounts sum;
  for (const auto& port : ports) sum += port->counts();
  return ", " + std::to_string(sum.received) + " datagrams received, " + std::to_string(sum.sent) + " sent, " +
         std::to_string(sum.refused) + " refused, " + std::to_string(sum.failed) + " failed, " +
         std::to_string(sum.dropped) + " answers dropped, " + std::to_string(sum.to_everybody) + " broadcasts ignored";
}

}  // namespace

std::vector<std::string> Application::status() const {
  std::vector<std::string> lines;
  for (const Running& running : running_) {
    net::ConnectionCounts sum;
    std::uint64_t failed_accepts = 0;
    const auto add = [&sum](const net::ConnectionCounts& counts) {
      sum.open += counts.open;
      sum.accepted += counts.accepted;
      sum.refused += counts.refused;
      sum.timed_out += counts.timed_out;
    };
    for (const auto& listener : running.listeners) {
      add(listener->connections().counts());
      failed_accepts += listener->failed_accepts();
    }
    if (running.stdio) add(running.stdio->counts());
    std::string line = running.name + ": " + std::to_string(sum.open) + " connections open, " +
                       std::to_string(sum.accepted) + " accepted, " + std::to_string(sum.refused) + " refused, " +
                       std::to_string(sum.timed_out) + " timed out, " +
                       std::to_string(reactor_.exceptions(running.account)) + " exceptions";
    if (!running.datagrams.empty()) line += datagram_text(running.datagrams);
    if (failed_accepts != 0) line += ", " + std::to_string(failed_accepts) + " failed accepts";
    if (const StatePort* state = running.service->state()) {
      line += ", " + std::to_string(state->changes()) + " state changes since the start, durability " +
              durability_text(definition_, definition_.services[running.number]);
    }
    lines.push_back(std::move(line));
    for (const std::string& own : running.service->status()) lines.push_back(running.name + ": " + own);
  }
  if (budget_) {
    lines.push_back("memory budget: " + std::to_string(budget_->used_bytes()) + " of " +
                    std::to_string(budget_->bytes_max()) + " bytes held, short " +
                    std::to_string(budget_->shortages()) + " times, " + std::to_string(budget_->ended()) +
                    " connections ended for it");
  }
  return lines;
}

}  // namespace tap::services
