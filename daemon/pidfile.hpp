// Pidfile: the number that `kill $(cat tapd.pid)` finds, held by a flock as long as it is true.
//
// It does not guard the store (state/lock.hpp does). Locked means that another tapd runs with this pidfile; unlocked
// means left over, whatever it says: pids are reused, so a living process of that number proves nothing.
#pragma once

#include <sys/types.h>

#include <string>

#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::daemon {

/// Lifetime: removed by remove() only; the lock ends with the object.
class Pidfile {
 public:
  Pidfile() = default;

  /// Takes the file and writes this process's pid. `stale` is set when an old one was overwritten.
  /// Errors: cannot_create (73): locked by another, a link, a FIFO, not ours, or with a second name.
  [[nodiscard]] static Result<Pidfile> take(const std::string& path, std::string& stale);

  /// Removes it if the path still leads to it.
  void remove();

 private:
  Pidfile(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  Fd fd_;
};

}  // namespace tap::daemon
