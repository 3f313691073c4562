// SplicePipe: the pipe that bytes pass on their way from socket to socket inside the kernel (splice(2)).
//
// Tests: tests/services/net/stream_forward_test.cpp
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "state/base/fd.hpp"

namespace tap::net {

/// Cost:   two descriptors and, while there is something in it, at most kBytesMax of kernel memory.
/// Errors: as splice(2) says in errno.
class SplicePipe {
 public:
  static constexpr std::size_t kBytesMax = std::size_t{256} * 1024;

  /// False: there are no descriptors for it.
  [[nodiscard]] bool open();
  /// Bytes that were there to be read, without waiting; 0 at the end of the stream, -1 on an error.
  [[nodiscard]] ssize_t fill(int socket) const;
  /// How many of the next `bytes` in it the socket took. REQUIRES: so many are in it.
  [[nodiscard]] std::size_t drain_to(int socket, std::size_t bytes) const;
  /// Takes the last `bytes` out. REQUIRES: so many are in it.
  [[nodiscard]] std::string empty(std::size_t bytes) const;

 private:
  Fd read_;
  Fd write_;
};

}  // namespace tap::net
