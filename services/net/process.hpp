// Process: another program, its input and output as bytes on the loop, its end as an answer.
//
// Source: Twisted's spawnProcess and getProcessOutputAndValue.
// Tests: tests/services/net/process_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/deferred.hpp"
#include "services/net/reactor.hpp"

namespace tap::net {

/// How a program ended.
struct ProcessEnd {
  int exit_code = 0;
  int signal = 0;  ///< 0: it ended by itself

  [[nodiscard]] bool good() const { return exit_code == 0 && signal == 0; }
  /// "exit code 3", "signal 9".
  [[nodiscard]] std::string text() const;
};

struct ProcessSpec {
  std::vector<std::string> words;  ///< the program, looked for in PATH, and its arguments; no shell
  std::string directory;           ///< empty: ours
  /// "NAME=value", and nothing else; unset: our environment.
  std::optional<std::vector<std::string>> environment;
};

/// One child process. Its input and output are pipes; every other descriptor of ours is closed for it, its signals are
/// as for a fresh program.
///
/// Thread:   the loop's.
/// Lifetime: the reactor outlives it. Dropping it kills the child (SIGKILL) and hears nothing more of it.
class Process {
 public:
  /// What of its input it has not taken may be so much; more is refused.
  static constexpr std::size_t kInputBytesMax = std::size_t{16} << 20U;

  /// What is heard of it, from the loop, never from inside start().
  struct Listener {
    std::function<void(std::string_view)> out;     ///< the view ends with the call
    std::function<void(std::string_view)> error;   ///< its standard error
    std::function<void(const ProcessEnd&)> ended;  ///< the last call, after all output; may drop the Process
  };

  /// Errors: unavailable, when there is no such program or it cannot be started.
  [[nodiscard]] static Result<std::unique_ptr<Process>> start(Reactor& reactor, const ProcessSpec& spec,
                                                              Listener listener);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  /// False when it does not take its input fast enough, or not any more.
  [[nodiscard]] bool write(std::string_view bytes);
  /// End of its input, after what was written.
  void close_input();
  /// Errors: unavailable, when it has ended.
  [[nodiscard]] Result<void> kill(int signal);
  [[nodiscard]] int pid() const;

 private:
  struct Box;
  explicit Process(Box* box) : box_(box) {}
  Box* box_;
};

/// What a program said, and how it ended.
struct ProcessOutput {
  std::string out;
  std::string error;
  ProcessEnd end;
};

/// Runs a program with that input to its end. Dropping the Deferred kills it.
/// Errors: those of Process::start(); temporary, when it says more than `output_bytes_max` (it is killed then).
[[nodiscard]] Deferred<ProcessOutput> run_process(Reactor& reactor, const ProcessSpec& spec,
                                                  const std::string& input = {},
                                                  std::size_t output_bytes_max = std::size_t{1} << 20U);

}  // namespace tap::net
