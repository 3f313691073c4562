// Watch: calls back while a descriptor is readable. For signals and pipes of the program itself; connections have
// transports.
#pragma once

#include <functional>

#include "services/net/reactor.hpp"

namespace tap::net {

/// Thread: the loop's. Lifetime: the descriptor stays the caller's and outlives this; the reactor too.
class Watch {
 public:
  Watch(Reactor& reactor, int fd, std::function<void()> readable);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

 private:
  struct Box;
  Box* box_;
  std::function<void()> readable_;
};

}  // namespace tap::net
