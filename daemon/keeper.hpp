// Keeper: the small parent. It holds lock, pidfile and listening sockets, and keeps a worker running.
//
// It parses nothing that a client sent and changes no state while services run: what can go wrong goes wrong in the
// worker, and the pid in the pidfile stays.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "daemon/channel.hpp"
#include "daemon/compactor.hpp"
#include "daemon/instance.hpp"
#include "daemon/launch.hpp"
#include "daemon/signals.hpp"

namespace tap::daemon {

/// Thread: the process has one. Lifetime: the instance and the report outlive it.
class Keeper {
 public:
  /// A worker that had been ready and dies is replaced at once, unless it does so more often than this.
  static constexpr std::size_t kDeathsMax = 5;
  static constexpr std::uint64_t kDeathsWithinMs = 10'000;
  static constexpr std::uint64_t kBackoffFirstMs = 100;
  static constexpr std::uint64_t kBackoffMaxMs = 10'000;
  /// Beyond the stop timeout, for saving; then the worker is killed.
  static constexpr std::uint64_t kSaveMaxMs = 60'000;

  Keeper(Instance& instance, LaunchReport& report) : instance_(instance), report_(report) {}

  /// Starts the first worker and stays until the end. The exit code.
  [[nodiscard]] int run();

 private:
  [[nodiscard]] Result<void> spawn();
  [[nodiscard]] int refuse(const Error& error);
  void turn();
  void on_signal(int signal);
  void on_messages();
  void on_worker_ready();
  void start_compaction(const std::string& order);
  void end_compaction();
  void on_child();
  void on_worker_gone(int status);
  void replace(const std::string& how);
  void schedule_spawn(std::uint64_t delay_ms);
  void begin_stop();
  void reopen_log();
  void end(int code);
  void say(LogLevel level, const std::string& message) { instance_.log().write(level, "tapd", message); }

  Instance& instance_;
  LaunchReport& report_;
  SignalReader signals_;
  Channel channel_;
  Compactor compactor_;
  pid_t worker_ = -1;
  bool ready_ = false;  ///< the present worker
  bool stopping_ = false;
  bool saved_ = false;
  std::optional<Error> failure_;  ///< what the present worker said last
  std::deque<std::uint64_t> deaths_ms_;
  std::uint64_t backoff_ms_ = kBackoffFirstMs;
  std::optional<std::uint64_t> spawn_at_ms_;
  std::optional<std::uint64_t> kill_at_ms_;
  std::optional<int> exit_code_;
};

}  // namespace tap::daemon
