#include "services/net/connections.hpp"

namespace tap::net {

ConnectionSet::ConnectionSet(Reactor& reactor, Factory& factory, std::string service, ListenerLimits limits, Gate* gate)
    : reactor_(reactor),
      factory_(factory),
      service_(std::move(service)),
      limits_(limits),
      gate_(gate),
      deadlines_(reactor, {limits.request_timeout_ms, limits.slow_reader_timeout_ms}, counts_.timed_out) {
  rules_.write_buffer_bytes = limits.write_buffer_bytes;
  rules_.read_rate = limits.read_rate;
  rules_.clean_end = limits.clean_end;
}

ConnectionSet::~ConnectionSet() {
  if (rules_.budget != nullptr) rules_.budget->leave(*this);
  when_empty_ = nullptr;
  full_ = false;
  abort_all();
  bury();
}

void ConnectionSet::share(const SharedLimits& shared) {
  rules_.account = shared.account;
  rules_.read_total = shared.read_total;
  rules_.budget = shared.budget;
  if (rules_.budget != nullptr) rules_.budget->join(*this);
}

void ConnectionSet::each_stream(const std::function<void(StreamTransport&)>& use) {
  for (const auto& stream : streams_) use(*stream);
}

std::unique_ptr<StreamTransport> ConnectionSet::make_stream() {
  StreamOwner& owner = *this;
  return std::make_unique<StreamTransport>(reactor_, owner);
}

void ConnectionSet::accept(uv_stream_s* listener, StreamKind kind) {
  const bool full = counts_.open >= limits_.connections_max;
  if (full || (rules_.budget != nullptr && rules_.budget->refusing())) {
    refuse(listener, kind);
    if (full) say_full();
    return;
  }
  std::unique_ptr<StreamTransport> stream = make_stream();
  if (Result<void> accepted = stream->accept(listener, kind); !accepted) {
    reactor_.log().write(LogLevel::warning, service_, accepted.error().message);
    return;
  }
  reactor_.descriptors().note(stream->fd());
  if (!admit(*stream)) return;     // it is closed with the object
  (void)begin(std::move(stream));  // guarded() has said what was wrong
}

Result<void> ConnectionSet::adopt(Fd socket, StreamKind kind) {
  std::unique_ptr<StreamTransport> stream = make_stream();
  if (Result<void> opened = stream->open(std::move(socket), kind); !opened) return opened;
  if (!begin(std::move(stream))) return Error{Fault::internal, "there is no protocol for this connection"};
  return {};
}

void ConnectionSet::refuse(uv_stream_s* listener, StreamKind kind) {
  {
    StreamTransport closed_at_once(reactor_, *this);
    (void)!closed_at_once.accept(listener, kind).ok();
  }
  ++counts_.refused;
}

void ConnectionSet::say_full() {
  if (full_) return;
  full_ = true;
  refused_before_ = counts_.refused - 1;
  reactor_.log().write(LogLevel::warning, service_,
                       "refusing connections: the limit of " + std::to_string(limits_.connections_max) +
                           " is reached (max_connections)");
}

bool ConnectionSet::admit(StreamTransport& stream) {
  if (limits_.connections_per_peer_max == 0) return true;
  const std::optional<PeerKey> peer = peer_key_of(stream.fd());
  if (!peer) return true;
  if (peers_.enter(*peer, limits_.connections_per_peer_max)) {
    stream.policy().peer = peer;
    return true;
  }
  ++counts_.refused;
  say_peer_refused(stream.peer());
  return false;
}

void ConnectionSet::say_peer_refused(const std::string& peer) {
  ++peer_refusals_;
  if (peer_refusals_said_.active()) return;
  reactor_.log().write(LogLevel::warning, service_,
                       "refused " + std::to_string(std::exchange(peer_refusals_, 0)) + " connections, the last of " +
                           peer + ": its address has " + std::to_string(limits_.connections_per_peer_max) +
                           " already (max_connections_per_peer)");
  peer_refusals_said_ = reactor_.call_later(kRefusalsSaidMs, [] {});
}

bool ConnectionSet::begin(std::unique_ptr<StreamTransport> stream) {
  std::unique_ptr<Protocol> protocol;
  const bool built = rules_.account == 0
                         ? reactor_.guarded(service_, [&] { protocol = factory_.build_protocol(); })
                         : reactor_.guarded(rules_.account, [&] { protocol = factory_.build_protocol(); });
  if (!built || protocol == nullptr) {
    forget_peer(*stream);
    return false;
  }
  ++counts_.accepted;
  ++counts_.open;
  StreamTransport& started = *stream;
  started.active_ms = reactor_.now_ms();
  started.place = streams_.insert(streams_.end(), std::move(stream));
  started.start(std::move(protocol));
  watch_idle();
  return true;
}

void ConnectionSet::stream_active(StreamTransport& stream) {
  if (limits_.idle_timeout_ms == 0) return;
  stream.active_ms = reactor_.now_ms();
  streams_.splice(streams_.end(), streams_, stream.place);
}

void ConnectionSet::forget_peer(StreamTransport& stream) {
  if (stream.has_policy() && stream.policy().peer) peers_.leave(*std::exchange(stream.policy().peer, std::nullopt));
}

void ConnectionSet::stream_ended(StreamTransport& stream) {
  deadlines_.forget(stream);
  forget_peer(stream);
  if (ended_.empty()) burial_ = reactor_.call_later(0, [this] { bury(); });
  ended_.push_back(&stream);
}

/// Says good-bye to the protocols and frees what has ended; may be the last thing this object does.
void ConnectionSet::bury() {
  burial_.cancel();
  std::vector<StreamTransport*> ended;
  ended.swap(ended_);
  for (StreamTransport* stream : ended) {
    stream->tell_protocol_lost();
    streams_.erase(stream->place);
    --counts_.open;
  }
  if (full_ && counts_.open < limits_.connections_max) {
    full_ = false;
    reactor_.log().write(
        LogLevel::info, service_,
        "accepting connections again, after " + std::to_string(counts_.refused - refused_before_) + " were refused");
  }
  if (streams_.empty() && when_empty_) {
    const std::function<void()> tell = std::exchange(when_empty_, nullptr);
    tell();
  }
}

/// Arms the one timer for the connection that has been idle longest.
void ConnectionSet::watch_idle() {
  if (limits_.idle_timeout_ms == 0 || idle_watch_.active()) return;
  for (const auto& stream : streams_) {
    if (stream->over()) continue;  // it is buried next turn
    const std::uint64_t due = stream->active_ms + limits_.idle_timeout_ms;
    const std::uint64_t now = reactor_.now_ms();
    idle_watch_ = reactor_.call_later(due > now ? due - now : 0, [this] { end_idle(); });
    return;
  }
}

void ConnectionSet::end_idle() {
  const std::uint64_t now = reactor_.now_ms();
  for (auto next = streams_.begin(); next != streams_.end();) {
    StreamTransport& stream = **next++;  // being active moves it to the end of the list
    if (stream.active_ms + limits_.idle_timeout_ms > now) break;
    if (stream.over()) continue;
    if (stream.held() || stream.rate_paused() || stream.peer_took_bytes()) {
      stream_active(stream);
      continue;
    }
    ++counts_.timed_out;
    stream.fail("idle for " + std::to_string(limits_.idle_timeout_ms) + " ms (idle_timeout)");
  }
  watch_idle();
}

void ConnectionSet::drain(std::function<void()> empty) {
  when_empty_ = std::move(empty);
  full_ = false;  // whoever drains accepts nobody again
  for (const auto& stream : streams_) stream->drain();
  if (streams_.empty()) burial_ = reactor_.call_later(0, [this] { bury(); });
}

void ConnectionSet::abort_all() {
  for (const auto& stream : streams_) stream->abort_connection();
}

}  // namespace tap::net
