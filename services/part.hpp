// Part: what a service is made of when it is more than a factory of protocols: timers, clients, and groups of such.
#pragma once

#include <string>
#include <vector>

#include "services/net/reactor.hpp"
#include "state/base/result.hpp"

namespace tap::services {

/// Thread: the loop's.
/// Order:  made -> start() -> stop(), and perhaps again. Only what has been started is stopped, once.
class Part {
 public:
  Part() = default;
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  virtual ~Part() = default;

  /// For messages: "poll".
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] virtual Result<void> start(net::Reactor& reactor) = 0;
  virtual void stop() = 0;
  /// Lines for the status report: "poll: 12 ticks, ...".
  [[nodiscard]] virtual std::vector<std::string> status() const { return {}; }
};

}  // namespace tap::services
