// LogSink: where the network layer and the services say things. The daemon brings the implementation.
#pragma once

#include <string_view>

namespace tap {

enum class LogLevel { debug, info, warning, error };

/// Thread: any; implementations lock. Costs a formatted line each: never on the path of an ordinary request.
class LogSink {
 public:
  LogSink() = default;
  LogSink(const LogSink&) = delete;
  LogSink& operator=(const LogSink&) = delete;
  virtual ~LogSink() = default;

  /// `who` is the service's name, or the part of the daemon that speaks; `message` is a sentence, without a newline.
  virtual void write(LogLevel level, std::string_view who, std::string_view message) = 0;
};

}  // namespace tap
