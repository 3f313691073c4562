#include "services/filter_proxy/upstreams.hpp"

#include <algorithm>

#include "services/filter_proxy/networks.hpp"
#include "services/filter_proxy/tunnel.hpp"
#include "services/units.hpp"

namespace tap::services {
namespace {

net::HttpLimits response_limits() {
  net::HttpLimits limits;
  limits.head_bytes_max = std::size_t{64} * 1024;
  limits.body_bytes_max = net::HttpLimits::kAnyBody;
  return limits;
}

net::ListenerLimits connection_limits(const UpstreamLimits& limits) {
  net::ListenerLimits all;
  all.connections_max = limits.in_all_max;
  return all;
}

}  // namespace

// --- slots ------------------------------------------------------------------------------------------------------

UpstreamSlot::UpstreamSlot(UpstreamSlot&& other) noexcept
    : upstreams_(std::exchange(other.upstreams_, nullptr)), key_(std::move(other.key_)) {}

UpstreamSlot& UpstreamSlot::operator=(UpstreamSlot&& other) noexcept {
  if (this == &other) return *this;
  give_back();
  upstreams_ = std::exchange(other.upstreams_, nullptr);
  key_ = std::move(other.key_);
  return *this;
}

void UpstreamSlot::give_back() {
  if (upstreams_ != nullptr) std::exchange(upstreams_, nullptr)->release(key_);
}

// --- one attempt ------------------------------------------------------------------------------------------------

Dial::Dial(net::Reactor& reactor, const std::string& host, std::uint16_t port, UpstreamSlot slot,
           const UpstreamLimits& limits, Done done)
    : reactor_(reactor), slot_(std::move(slot)), allow_private_(limits.allow_private), done_(std::move(done)) {
  const std::uint64_t ms = limits.connect_ms;
  deadline_ = reactor_.call_later(ms, [this, ms] { finish(504, "no connection within " + duration_text(ms)); });
  resolving_.emplace(reactor_, host, port,
                     [this](Result<std::vector<net::SocketAddress>> addresses) { resolved(std::move(addresses)); });
}

void Dial::resolved(Result<std::vector<net::SocketAddress>> addresses) {
  if (!addresses) {
    finish(502, addresses.error().message);
    return;
  }
  std::vector<net::SocketAddress> allowed = std::move(addresses).value();
  if (!allow_private_) {
    std::erase_if(allowed, [](const net::SocketAddress& address) {
      const std::optional<PlainAddress> plain = PlainAddress::of(address);
      return !plain || !is_public(*plain);
    });
  }
  if (allowed.empty()) {
    finish(403, "this host is at an address that is not public, and those are not served");
    return;
  }
  race_.emplace(reactor_, allowed, std::nullopt, [this](Result<Fd> connected) {
    if (connected) finish(0, {}, std::move(connected).value());
    else finish(502, "no connection: " + connected.error().message);
  });
}

/// The last thing this object does: `done` may drop it.
void Dial::finish(int status, std::string reason, Fd socket) {
  deadline_.cancel();
  const Done done = std::move(done_);
  done({std::move(socket), std::move(slot_), status, std::move(reason)});
}

// --- one connection ---------------------------------------------------------------------------------------------

UpstreamConnection::UpstreamConnection(net::Reactor& reactor, Upstreams& upstreams, UpstreamSlot slot)
    : HttpClientProtocol(reactor, response_limits()), upstreams_(upstreams), slot_(std::move(slot)) {}

UpstreamConnection::~UpstreamConnection() { upstreams_.unpool(*this); }

void UpstreamConnection::became_idle() {
  if (!std::exchange(begun_, true)) {
    // An origin that answers while it is being sent a body has to be heard, or both would wait for each other.
    transport().read_while_congested(true);
    return;
  }
  used_ = true;
  upstreams_.keep(*this);
}

void UpstreamConnection::ended(const Error& /*reason*/) {
  upstreams_.unpool(*this);
  slot_ = UpstreamSlot();
}

// --- all of them ------------------------------------------------------------------------------------------------

Upstreams::Upstreams(net::Reactor& reactor, std::string service, const UpstreamLimits& limits)
    : reactor_(reactor), limits_(limits), connections_(reactor, *this, std::move(service), connection_limits(limits)) {}

Upstreams::~Upstreams() { connections_.abort_all(); }

std::optional<UpstreamSlot> Upstreams::take_slot(const std::string& key) {
  const auto found = places_.find(key);
  if (found != places_.end() && found->second.open >= limits_.per_host_max) return std::nullopt;
  if (open_ >= limits_.in_all_max && !idle_.empty()) {
    UpstreamConnection& oldest = *idle_.front();
    unpool(oldest);
    oldest.slot_ = UpstreamSlot();
    oldest.let_go();
  }
  if (open_ >= limits_.in_all_max) return std::nullopt;
  ++places_[key].open;
  ++open_;
  return UpstreamSlot(*this, key);
}

void Upstreams::release(const std::string& key) {
  const auto found = places_.find(key);
  TAP_ASSERT(found != places_.end() && open_ > 0);
  --open_;
  if (--found->second.open == 0 && found->second.idle.empty()) places_.erase(found);
}

UpstreamConnection* Upstreams::take_idle(const std::string& key) {
  const auto found = places_.find(key);
  while (found != places_.end() && !found->second.idle.empty()) {
    UpstreamConnection& last = *found->second.idle.back();
    unpool(last);
    if (last.idle()) return &last;
  }
  return nullptr;
}

void Upstreams::keep(UpstreamConnection& connection) {
  Place& place = places_.find(connection.slot_.key())->second;
  if (place.idle.size() >= limits_.idle_per_host_max || limits_.idle_in_all_max == 0) {
    connection.let_go();
    return;
  }
  if (idle_.size() >= limits_.idle_in_all_max) {
    UpstreamConnection& oldest = *idle_.front();
    unpool(oldest);
    oldest.let_go();
  }
  place.idle.push_back(&connection);
  connection.place_ = idle_.insert(idle_.end(), &connection);
  connection.pooled_ = true;
  connection.idle_since_ms_ = reactor_.now_ms();
}

/// Its place stays: the connection has its slot still.
void Upstreams::unpool(UpstreamConnection& connection) {
  if (!std::exchange(connection.pooled_, false)) return;
  idle_.erase(connection.place_);
  std::erase(places_.find(connection.slot_.key())->second.idle, &connection);
}

std::unique_ptr<Dial> Upstreams::dial(const std::string& host, std::uint16_t port, UpstreamSlot slot, Dial::Done done) {
  return std::make_unique<Dial>(reactor_, host, port, std::move(slot), limits_, std::move(done));
}

Result<UpstreamConnection*> Upstreams::begin(Dialled dialled) {
  auto connection = std::make_unique<UpstreamConnection>(reactor_, *this, std::move(dialled.slot));
  UpstreamConnection* begun = connection.get();
  if (Result<void> adopted = begin(std::move(dialled.socket), std::move(connection)); !adopted) {
    return std::move(adopted).error();
  }
  if (!begun->idle()) return Error{Fault::internal, "the connection has ended at once"};
  return begun;
}

Result<void> Upstreams::begin(Fd socket, std::unique_ptr<net::Protocol> protocol) {
  next_ = std::move(protocol);
  Result<void> adopted = connections_.adopt(std::move(socket), net::StreamKind::tcp);
  next_.reset();
  return adopted;
}

void Upstreams::sweep() {
  const std::uint64_t now = reactor_.now_ms();
  while (!idle_.empty() && now - idle_.front()->idle_since_ms_ >= limits_.idle_ms) {
    UpstreamConnection& oldest = *idle_.front();
    unpool(oldest);
    oldest.let_go();
  }
  const std::list<TunnelEnd*> tunnels = tunnels_;
  for (TunnelEnd* tunnel : tunnels) tunnel->end_if_idle(now, limits_.tunnel_ms);
}

void Upstreams::abort_all() { connections_.abort_all(); }

}  // namespace tap::services
