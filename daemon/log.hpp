// Log: the daemon's LogSink: a file, standard error, the systemd journal or syslog, one line a message.
//
//     2026-11-21T23:25:17.123+0000 info fib: resuming generation 3
//
// Writes to a descriptor it is given, so that a worker without rights to the log directory can log, and so that USR1
// is one exchange of descriptors, in the keeper and in the worker alike.
#pragma once

#include <memory>
#include <string>

#include "services/net/log.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace spdlog::sinks {
class sink;
}

namespace tap::daemon {

/// Where to log. A plain value: the keeper hands it to its workers.
struct LogPlan {
  enum class Target : std::uint8_t { file, standard_error, journal, syslog };

  Target target = Target::standard_error;
  std::string path;  ///< for Target::file, absolute
  std::string syslog_ident = "tapd";
  std::string level = "info";
};

/// Whether standard error is the systemd journal's (sd_journal_stream_fd(3): $JOURNAL_STREAM names its inode).
[[nodiscard]] bool stderr_is_journal();

/// "debug", "info", "warning", "error". False for another word.
[[nodiscard]] bool is_log_level(const std::string& level);

/// Thread: any.
class Log final : public LogSink {
 public:
  /// Opens the plan's file; the others need no descriptor. Errors: cannot_create, permission.
  [[nodiscard]] static Result<Fd> open_file(const LogPlan& plan);

  /// `fd` is for Target::file only.
  Log(const LogPlan& plan, Fd fd);
  ~Log() override;

  void write(LogLevel level, std::string_view who, std::string_view message) override;
  /// Goes on in another file. Does nothing for other targets.
  void exchange(Fd fd);

  /// The log file's descriptor, -1 for other targets.
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  LogPlan::Target target_;
  Fd fd_;
  std::shared_ptr<spdlog::sinks::sink> sink_;
};

}  // namespace tap::daemon
