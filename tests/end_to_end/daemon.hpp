// Daemon: a real tapd in a directory of the test's own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/process.hpp"
#include "tests/support/socket.hpp"
#include "tests/support/temporary_directory.hpp"

namespace tap::tests {

/// Started by its launcher, stopped by its pidfile; killed, keeper and worker, with the object.
class Daemon {
 public:
  /// Runs `tapd words...` in `directory` and waits for the launcher.
  Daemon(const TemporaryDirectory& directory, const std::vector<std::string>& words,
         const std::vector<std::string>& environment = {});
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  [[nodiscard]] const Ended& launcher() const { return launcher_; }
  [[nodiscard]] bool started() const { return launcher_.code == 0; }
  /// The port in the n-th "listening" line.
  [[nodiscard]] std::uint16_t port(std::size_t index = 0) const;
  [[nodiscard]] pid_t keeper() const;
  /// The present worker; waits for one. -1 after the deadline.
  [[nodiscard]] pid_t worker() const;
  [[nodiscard]] std::string log() const { return read_text(directory_ / "tapd.log"); }
  /// Waits until `part` stands in the log at least `times` times. False after the deadline.
  [[nodiscard]] bool wait_for_log(const std::string& part, std::size_t times = 1) const;
  /// `kill $(cat tapd.pid)`, then waits for the end. True when it ended in time and the pidfile is gone.
  bool stop();
  void signal(int number) const;

 private:
  const TemporaryDirectory& directory_;
  Ended launcher_;
};

/// The ports in "listening NAME tcp:ADDRESS:PORT" lines, in their order; those of tls: and haproxy: too.
[[nodiscard]] std::vector<std::uint16_t> ports_in(const std::string& listening);
/// How often `part` stands in `text`.
[[nodiscard]] std::size_t count_of(const std::string& text, const std::string& part);
/// Asks a line-framed service once; empty when that failed.
[[nodiscard]] std::string ask(std::uint16_t port);

/// The fibonacci service with line framing on a free port of the loopback interface.
[[nodiscard]] std::vector<std::string> fibonacci_lines();

}  // namespace tap::tests
