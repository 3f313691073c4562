// Service: a factory of protocols with a name, a beginning, an end, and perhaps a state that outlives the process.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "services/net/datagram.hpp"
#include "services/net/protocol.hpp"
#include "services/net/reactor.hpp"
#include "services/state_cell.hpp"
#include "state/base/result.hpp"

namespace tap::services {

/// Thread: the loop's.
/// Order:  made -> its state restored -> start() -> connections -> wind_down() -> stop() -> its state saved -> gone.
class Service : public net::Factory {
 public:
  /// Where its state lives; nullptr when it has none.
  [[nodiscard]] virtual StatePort* state() { return nullptr; }

  /// What makes the protocols of one of its endpoints, for services that speak otherwise there; `endpoint` as it was
  /// written. Asked when the port opens, after start(). Lifetime: the service's.
  [[nodiscard]] virtual net::Factory& factory_for(const std::string& endpoint) {
    (void)endpoint;
    return *this;
  }

  /// For each `udp:` endpoint one. A kind that says that it speaks datagrams makes one; nullptr: it does not.
  [[nodiscard]] virtual std::unique_ptr<net::DatagramProtocol> build_datagram_protocol() { return nullptr; }

  /// Whether the end of a connection is part of what is told: see Transport::require_clean_end(), which holds from
  /// accept(2) on then, so that a connection that dies before its first call does not look like an empty answer.
  [[nodiscard]] virtual bool requires_clean_end() const { return false; }

  /// Before the first connection. Timers and clients of the service begin here.
  [[nodiscard]] virtual Result<void> start(net::Reactor& reactor) {
    (void)reactor;
    return {};
  }
  /// The operator has asked for what was read from files to be read again (SIGHUP). What cannot be used is said in the
  /// log, and the service goes on with what it has. Between start() and stop() only.
  virtual void reload() {}
  /// At a stop, when the connections have been served: ends what takes its time, a child process or a request to
  /// somebody else. True: `ended` will be called, once, from a later turn; the stop waits for it up to the
  /// application's stop_timeout, and then names this service in the log. False: there is nothing to wait for, `ended`
  /// is never called.
  [[nodiscard]] virtual bool wind_down(std::function<void()> /*ended*/) { return false; }  // NOLINT: overriders keep it
  /// After the last connection. What start() began ends here.
  virtual void stop() {}
  /// Lines of its own for the status report: what its parts do (services/part.hpp).
  [[nodiscard]] virtual std::vector<std::string> status() const { return {}; }
};

}  // namespace tap::services
