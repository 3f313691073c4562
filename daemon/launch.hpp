// Launch: becoming a daemon, and telling the one who typed the command how that went.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::daemon {

/// The one answer to whoever started tapd: printed here in the foreground, sent through a pipe to the waiting launcher
/// by a daemon. Lifetime: an object that ends without an answer leaves the launcher to say that the daemon died.
class LaunchReport {
 public:
  /// In the foreground. `stdout_is_taken`: a service owns standard output, the lines go to standard error.
  LaunchReport() = default;
  /// In a daemon.
  explicit LaunchReport(Fd pipe) : pipe_(std::move(pipe)), daemon_(true) {}

  /// Ports accept, state is recovered, the pidfile is right. `listening`: whole lines; `notes`: sentences.
  void ready(const std::string& listening, const std::vector<std::string>& notes, bool stdout_is_taken);
  /// Startup failed; `error` is printed whole.
  void failed(const Error& error);

  [[nodiscard]] bool given() const { return given_; }

 private:
  Fd pipe_;
  bool daemon_ = false;
  bool given_ = false;
};

/// "tapd: " and the error on standard error; further lines (file:line:column of a config) as they are.
void print_error(const Error& error);

/// Runs `body` as a daemon (a session of its own, no terminal, standard streams to /dev/null) and waits for its report.
/// In the launcher it returns the exit code; in the daemon it does not return.
/// Of the descriptors from 3 on that it inherits the daemon keeps only those in `meant`.
[[nodiscard]] int daemonize(const std::vector<int>& meant, const std::function<int(LaunchReport&)>& body);

}  // namespace tap::daemon
