// StdioBridge: standard input and output as one end of a socket pair.
//
// The loop cannot wait for regular files, and a terminal must not be made non-blocking (it is shared with the shell).
// So two threads copy between the descriptors and a socket, which the loop treats like any other connection.
#pragma once

#include <thread>

#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::net {

/// Lifetime: when the loop's end of the pair is closed, both threads end; the destructor waits for them, so that all
///           that was sent is out. After abandon() it waits for nobody: a standard output that nobody reads must not
///           keep a stop from its end. The threads then live until the process ends; they touch nothing of this object.
class StdioBridge {
 public:
  StdioBridge() = default;
  StdioBridge(const StdioBridge&) = delete;
  StdioBridge& operator=(const StdioBridge&) = delete;
  ~StdioBridge();

  /// Gives up what standard output has not taken.
  void abandon();

  /// Starts copying; gives the loop's end. Errors: unavailable.
  [[nodiscard]] Result<Fd> open(int input, int output);

 private:
  static void copy_input(int input, int socket);
  static void copy_output(int socket, int output);

  Fd socket_;
  std::thread reader_;
  std::thread writer_;
};

}  // namespace tap::net
