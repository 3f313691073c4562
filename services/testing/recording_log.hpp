// RecordingLog: a LogSink whose lines a test can look at.
#pragma once

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "services/net/log.hpp"

namespace tap::testing {

/// Thread: any for write(); the rest when nothing writes.
class RecordingLog final : public LogSink {
 public:
  struct Line {
    LogLevel level;
    std::string who;
    std::string message;
  };

  void write(LogLevel level, std::string_view who, std::string_view message) override {
    const std::lock_guard<std::mutex> hold(lock_);
    lines_.push_back({level, std::string(who), std::string(message)});
  }
  [[nodiscard]] const std::vector<Line>& lines() const { return lines_; }
  /// How many lines have `part` in their message.
  [[nodiscard]] std::size_t count(std::string_view part) const {
    return static_cast<std::size_t>(std::count_if(
        lines_.begin(), lines_.end(), [&](const Line& line) { return line.message.find(part) != std::string::npos; }));
  }

 private:
  std::mutex lock_;
  std::vector<Line> lines_;
};

}  // namespace tap::testing
