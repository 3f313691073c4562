#include "daemon/log.hpp"

#include <fcntl.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/syslog_sink.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <mutex>

namespace tap::daemon {
namespace {

/// Appends formatted lines to a descriptor that others own; each line is one write, so that processes may share it.
class DescriptorSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit DescriptorSink(int fd) : fd_(fd) {}

  void use(int fd) {
    const std::lock_guard<std::mutex> hold(mutex_);
    fd_ = fd;
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    // A full disk or a closed terminal must not stop the service; there is nowhere left to say so.
    ssize_t written = 0;
    do written = ::write(fd_, line.data(), line.size());
    while (written < 0 && errno == EINTR);
  }
  void flush_() override {}

  int fd_;
};

/// "<6>": sd-daemon(3), how the journal learns a line's priority.
class JournalPriority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& out) override {
    const char* priority = "<6>";
    if (message.level <= spdlog::level::debug) priority = "<7>";
    if (message.level == spdlog::level::warn) priority = "<4>";
    if (message.level >= spdlog::level::err) priority = "<3>";
    out.append(priority, priority + 3);
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JournalPriority>();
  }
};

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

/// What a client sent may be part of a message; it must not forge lines or drive a terminal.
std::string printable(std::string_view message) {
  std::string text;
  text.reserve(message.size());
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    const bool c1 = byte >= 0x80 && byte <= 0x9f && !text.empty() && text.back() == '\xC2';  // U+0080 to U+009F
    if (c1) text.back() = '?';
    else if (byte >= 0x20 && byte != 0x7f) text += c;
    else if (c == '\n') text += " | ";
    else text += '?';
  }
  return text;
}

}  // namespace

bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat found {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &found) != 0) return false;
  return stream == std::to_string(found.st_dev) + ":" + std::to_string(found.st_ino);
}

bool is_log_level(const std::string& level) {
  return level == "debug" || level == "info" || level == "warning" || level == "error";
}

Result<Fd> Log::open_file(const LogPlan& plan) {
  if (plan.target != LogPlan::Target::file) return Fd();
  // O_NONBLOCK: a FIFO without a reader would hang the start; it has no effect on a file.
  Fd fd(::open(plan.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
  if (!fd.open()) {
    return errno_error(errno == EACCES || errno == EPERM ? Fault::permission : Fault::cannot_create,
                       "opening the log file " + plan.path);
  }
  return fd;
}

Log::Log(const LogPlan& plan, Fd fd) : target_(plan.target), fd_(std::move(fd)) {
  // Now: inside a chroot there may be neither a time zone nor /dev/log.
  ::tzset();
  if (target_ == LogPlan::Target::syslog) {
    sink_ = std::make_shared<spdlog::sinks::syslog_sink_mt>(plan.syslog_ident, LOG_PID | LOG_NDELAY, LOG_DAEMON, true);
    sink_->set_pattern("%n: %v");
  } else {
    sink_ = std::make_shared<DescriptorSink>(target_ == LogPlan::Target::file ? fd_.get() : STDERR_FILENO);
    if (target_ == LogPlan::Target::journal) {
      auto formatter = std::make_unique<spdlog::pattern_formatter>();
      formatter->add_flag<JournalPriority>('*').set_pattern("%*%n: %v");
      sink_->set_formatter(std::move(formatter));
    } else {
      sink_->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %n: %v");
    }
  }
  sink_->set_level(spdlog::level::from_str(plan.level));
}

Log::~Log() = default;

void Log::write(LogLevel level, std::string_view who, std::string_view message) {
  const spdlog::level::level_enum wanted = spdlog_level(level);
  if (!sink_->should_log(wanted)) return;
  const std::string text = printable(message);
  sink_->log(spdlog::details::log_msg({who.data(), who.size()}, wanted, text));
}

void Log::exchange(Fd fd) {
  if (target_ != LogPlan::Target::file) return;
  static_cast<DescriptorSink&>(*sink_).use(fd.get());
  fd_ = std::move(fd);
}

}  // namespace tap::daemon
