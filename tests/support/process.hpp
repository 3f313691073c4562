// Processes for tests: run a program to its end, or beside the test, always with a deadline. Nothing here sleeps.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "state/base/fd.hpp"

namespace tap::tests {

/// How a program ended and what it said.
struct Ended {
  int code = -1;  ///< exit code; 128 + N when signal N killed it; -1 when it did not end in time (it was killed)
  std::string out;
  std::string err;
};

/// Runs `words` in `directory` to its end. `environment`: "NAME=value" additions.
[[nodiscard]] Ended run(const std::vector<std::string>& words, const std::string& directory,
                        const std::vector<std::string>& environment = {}, const std::string& input = "");

/// A child that runs beside the test; killed and reaped at the end of the object.
class Process {
 public:
  Process() = default;
  Process(const std::vector<std::string>& words, const std::string& directory,
          const std::vector<std::string>& environment = {});
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// One line of its standard output, without the newline; empty at the end or after the deadline.
  [[nodiscard]] std::string read_line();
  void write_input(const std::string& bytes) const;
  void close_input() { input_.reset(); }
  /// Waits for its end.
  [[nodiscard]] Ended wait();

 private:
  void kill_and_reap();

  pid_t pid_ = -1;
  Fd input_;
  Fd output_;
  Fd error_;
  std::string pending_;
};

/// kill(2) for one process only. REQUIRES: pid > 1 (0 and -1 would mean whole groups,
/// and the test's machine with them).
void send_signal(pid_t pid, int number);
/// Waits until a process that is not our child is gone. False after the deadline.
[[nodiscard]] bool wait_until_gone(pid_t pid);
/// The children of a process, oldest first.
[[nodiscard]] std::vector<pid_t> children_of(pid_t pid);

/// Resident memory in KiB; -1 when the process has gone.
[[nodiscard]] long resident_kib(pid_t pid);
/// Open descriptors; 0 when the process has gone.
[[nodiscard]] std::size_t descriptors_of(pid_t pid);
/// Seconds of processor time that it has had, in user and kernel mode, all threads.
[[nodiscard]] double processor_s(pid_t pid);
/// As many descriptors for this process as it may have. Returns how many.
std::size_t raise_descriptor_limit();

/// Whether there is time for the full numbers ($TAP_LONG).
[[nodiscard]] bool long_run();
/// Whether the programs are slowed and fattened by a sanitizer ($TAP_SANITIZE).
[[nodiscard]] bool sanitized();
/// Path of one of our programs: $TAP_BIN/NAME.
[[nodiscard]] std::string program(const std::string& name);

}  // namespace tap::tests
