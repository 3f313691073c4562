// Service: a factory of protocols with a name, a beginning, an end, and perhaps a state that outlives the process.
#pragma once

#include <memory>

#include "services/net/datagram.hpp"
#include "services/net/protocol.hpp"
#include "services/net/reactor.hpp"
#include "services/state_cell.hpp"
#include "state/base/result.hpp"

namespace tap::services {

/// Thread: the loop's.
/// Order:  made -> its state restored -> start() -> connections -> stop() -> its state saved -> gone.
class Service : public net::Factory {
 public:
  /// Where its state lives; nullptr when it has none.
  [[nodiscard]] virtual StatePort* state() { return nullptr; }

  /// For each `udp:` endpoint one. A kind that says that it speaks datagrams makes one; nullptr: it does not.
  [[nodiscard]] virtual std::unique_ptr<net::DatagramProtocol> build_datagram_protocol() { return nullptr; }

  /// Before the first connection. Timers and clients of the service begin here.
  [[nodiscard]] virtual Result<void> start(net::Reactor& reactor) {
    (void)reactor;
    return {};
  }
  /// After the last connection. What start() began ends here.
  virtual void stop() {}
};

}  // namespace tap::services
