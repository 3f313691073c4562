// TunnelEnd: one of the two connections between which CONNECT lets bytes pass, unread.
//
// Source: RFC 9110 section 9.3.6.
// Tests: tests/services/filter_proxy/proxy_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "services/filter_proxy/upstreams.hpp"
#include "services/net/protocol.hpp"
#include "services/net/reactor.hpp"

namespace tap::services {

/// What comes is written to the other end; an end that does not take it pauses this one, and the end of one direction
/// is passed on alone.
///
/// Lifetime: owned by its connection. Whichever goes first tells the other, which then sends what it has and ends.
class TunnelEnd final : public net::Protocol {
 public:
  /// The client's end and the origin's, which holds the slot.
  [[nodiscard]] static std::pair<std::unique_ptr<TunnelEnd>, std::unique_ptr<TunnelEnd>> make_pair(
      net::Reactor& reactor, Upstreams& upstreams, UpstreamSlot slot);
  TunnelEnd(net::Reactor& reactor, Upstreams* upstreams, UpstreamSlot slot);
  ~TunnelEnd() override;

  void connection_made() override;
  void data_received(std::string_view data) override;
  void end_received() override;
  void output_drained() override;
  void connection_lost(const Error& reason) override;
  void service_stops() override;

  /// Of the origin's end only: ends both when no byte went either way for so long.
  void end_if_idle(std::uint64_t now_ms, std::uint64_t allowed_ms);

 private:
  void part();
  void other_gone();
  void end_when_both_have_ended();

  net::Reactor& reactor_;
  Upstreams* upstreams_;  ///< nullptr: this is the client's end
  UpstreamSlot slot_;
  TunnelEnd* other_ = nullptr;
  std::uint64_t active_ms_;
  bool made_ = false;
  bool paused_ = false;
  bool peer_ended_ = false;
};

}  // namespace tap::services
