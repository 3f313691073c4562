// Watch: calls back while a descriptor is readable, or writable. For signals and pipes of the program itself;
// connections have transports.
#pragma once

#include <functional>

#include "services/net/reactor.hpp"

namespace tap::net {

/// Thread: the loop's. Lifetime: the descriptor stays the caller's and outlives this; the reactor too. `ready` does not
/// end the watch that calls it.
class Watch {
 public:
  enum class For { readable, writable };

  Watch(Reactor& reactor, int fd, std::function<void()> ready, For what = For::readable);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

 private:
  struct Box;
  Box* box_;
  std::function<void()> ready_;
};

}  // namespace tap::net
