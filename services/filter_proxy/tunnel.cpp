#include "services/filter_proxy/tunnel.hpp"

namespace tap::services {

std::pair<std::unique_ptr<TunnelEnd>, std::unique_ptr<TunnelEnd>> TunnelEnd::make_pair(net::Reactor& reactor,
                                                                                       Upstreams& upstreams,
                                                                                       UpstreamSlot slot) {
  auto client = std::make_unique<TunnelEnd>(reactor, nullptr, UpstreamSlot());
  auto origin = std::make_unique<TunnelEnd>(reactor, &upstreams, std::move(slot));
  client->other_ = origin.get();
  origin->other_ = client.get();
  return {std::move(client), std::move(origin)};
}

TunnelEnd::TunnelEnd(net::Reactor& reactor, Upstreams* upstreams, UpstreamSlot slot)
    : reactor_(reactor), upstreams_(upstreams), slot_(std::move(slot)), active_ms_(reactor.now_ms()) {
  if (upstreams_ != nullptr) upstreams_->add(*this);
}

TunnelEnd::~TunnelEnd() {
  if (upstreams_ != nullptr) upstreams_->remove(*this);
  part();
}

/// The origin may speak before the client's end is there: it waits.
void TunnelEnd::connection_made() {
  made_ = true;
  transport().read_while_congested(true);
  if (other_ == nullptr) {
    transport().lose_connection();
  } else if (!other_->made_) {
    paused_ = true;
    transport().pause_reading();
  } else if (std::exchange(other_->paused_, false)) {
    other_->transport().resume_reading();
  }
}

void TunnelEnd::data_received(std::string_view data) {
  if (other_ == nullptr) return;
  active_ms_ = other_->active_ms_ = reactor_.now_ms();
  other_->transport().write(data);
  if (!other_->transport().congested()) return;
  paused_ = true;
  transport().pause_reading();
}

void TunnelEnd::end_received() {
  peer_ended_ = true;
  if (other_ == nullptr) {
    transport().lose_connection();
    return;
  }
  other_->transport().lose_write_connection();
  end_when_both_have_ended();
}

void TunnelEnd::end_when_both_have_ended() {
  if (!peer_ended_ || !other_->peer_ended_) return;
  other_->transport().lose_connection();
  transport().lose_connection();
}

void TunnelEnd::output_drained() {
  active_ms_ = reactor_.now_ms();
  if (other_ == nullptr || !std::exchange(other_->paused_, false)) return;
  other_->active_ms_ = active_ms_;
  other_->transport().resume_reading();
}

void TunnelEnd::connection_lost(const Error& /*reason*/) {
  made_ = false;
  part();
  slot_ = UpstreamSlot();
}

void TunnelEnd::service_stops() {
  if (other_ != nullptr && other_->made_) other_->transport().lose_connection();
  transport().lose_connection();
}

void TunnelEnd::part() {
  if (TunnelEnd* other = std::exchange(other_, nullptr)) other->other_gone();
}

void TunnelEnd::other_gone() {
  other_ = nullptr;
  if (!made_) return;
  if (std::exchange(paused_, false)) transport().resume_reading();
  transport().lose_connection();
}

void TunnelEnd::end_if_idle(std::uint64_t now_ms, std::uint64_t allowed_ms) {
  if (now_ms - active_ms_ < allowed_ms || !made_) return;
  transport().abort_connection();
}

}  // namespace tap::services
