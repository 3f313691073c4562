// The two measurements of tap_load, and what they share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

namespace tap::load {

inline constexpr int kExitWrong = 1;  // a difference, a refusal, a silence
inline constexpr int kExitUsage = 64;

/// What one request is, and what its reply has to be.
enum class Mode {
  echo,  // random bytes; the reply is the same bytes
  line,  // letters, closed by a newline; the reply is the same bytes
  ask,   // letters, closed by a newline; the reply is any line that is not empty
};

/// REQUIRES: connections, size and depth at least 1; exactly one of seconds and requests above 0.
struct LoadOptions {
  int port = 0;
  std::size_t connections = 1;
  std::size_t size = 0;  // of a request, in bytes, newline included
  std::size_t depth = 1;
  double warmup_s = 0;  // before the measured seconds
  double seconds = 0;
  std::uint64_t requests = 0;  // over all connections
  Mode mode = Mode::echo;
  std::string text;   // with Mode::ask: what each request is, without its newline; empty: letters
  bool spin = false;  // never sleep: the server then pays for no wake-ups
  int timeout_s = 10;
  std::vector<int> server_pids;
};

/// Runs the load and prints one JSON object: {requests, seconds, requests_per_second, p50_us, p99_us,
/// load_cpu_seconds} and, given server pids, server_cpu_seconds. Ends the program with kExitWrong at the
/// first reply that is wrong.
void run_load(const LoadOptions& options);

struct FirstAnswerOptions {
  std::vector<char*> command;  // ends with a null pointer, as execvp wants it
  int server_cpu = -1;         // -1: wherever we run
  bool daemon = false;         // the command ends by itself and leaves the server running
  int timeout_s = 10;
};

/// Starts the command, which prints a line `listening ... PORT`, has one line echoed by it, and prints one
/// JSON object: {first_answer_ms, ready_ms, port, exit_code}. A server that is not a daemon is then stopped
/// by SIGTERM.
void measure_first_answer(const FirstAnswerOptions& options);

/// Nanoseconds on the monotonic clock.
inline std::uint64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(time.tv_nsec);
}

/// Prints `tap_load: ...` on stderr and ends the program with kExitWrong.
[[noreturn]] void fail(const std::string& sentence);

/// A connection to 127.0.0.1 with Nagle's algorithm off. It blocks, at most timeout_s for one receive.
int connect_to(int port, int timeout_s);

}  // namespace tap::load
