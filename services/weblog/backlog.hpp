// Backlog: the hits that some client has not got yet, once for all of them, each under its number.
//
// Tests: tests/services/weblog/backlog_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace tap::services::weblog {

/// Thread: the loop's. Invariants: numbers follow each other without a gap, from begin() to end().
class Backlog {
 public:
  /// Forgets everything; the next hit has the number `next`.
  void start(std::uint64_t next);
  /// Hits as XML, and where each ends. REQUIRES: the last end is the end of `xml`.
  void append(std::string xml, std::vector<std::uint32_t> ends);
  /// Forgets what lies before `number`, by whole appends, and above `bytes_max` more of what lies before `kept`.
  void trim(std::uint64_t number, std::uint64_t kept, std::size_t bytes_max);

  /// The number of the oldest hit, and the one after the newest.
  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

  /// Hits from `number` on, which becomes that of the hit after them: at most `bytes_max` bytes, but one hit at least.
  /// The view lasts until the next change. REQUIRES: begin() <= number < end().
  [[nodiscard]] std::string_view read(std::uint64_t& number, std::size_t bytes_max) const;

 private:
  struct Batch {
    std::uint64_t first = 0;
    std::string xml;
    std::vector<std::uint32_t> ends;
  };

  std::deque<Batch> batches_;
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace tap::services::weblog
