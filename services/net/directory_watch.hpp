// DirectoryWatch: calls back when something happens to a file in a directory (inotify(7)).
//
// Tests: tests/services/net/directory_watch_test.cpp
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "services/net/reactor.hpp"
#include "services/net/watch.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::net {

/// Of a path the directory is watched, so that the file need not be there: it may be made, written to, renamed and
/// replaced. Files whose names begin as the path's last part count too: "access.log" and "access.log.1".
///
/// A file system may tell nothing (NFS does not), and the kernel may have no watch left: who needs to know looks from
/// time to time as well.
///
/// Thread:   the loop's.
/// Lifetime: the reactor outlives it. `changed` is called from a turn of its own and may end the watch.
class DirectoryWatch {
 public:
  /// Errors: no_input, when the directory is not there; unavailable, when there is no watch to be had.
  [[nodiscard]] static Result<std::unique_ptr<DirectoryWatch>> open(Reactor& reactor, const std::string& path,
                                                                    std::function<void()> changed);
  DirectoryWatch(const DirectoryWatch&) = delete;
  DirectoryWatch& operator=(const DirectoryWatch&) = delete;
  ~DirectoryWatch() = default;

  /// Whether the directory has gone: nothing more will come.
  [[nodiscard]] bool over() const { return over_; }

 private:
  DirectoryWatch(Reactor& reactor, Fd fd, std::string name, std::function<void()> changed);
  void read_events();

  Reactor& reactor_;
  Fd fd_;
  std::string name_;
  std::function<void()> changed_;
  bool over_ = false;
  bool to_tell_ = false;
  Timer telling_;
  Watch watch_;
};

}  // namespace tap::net
