// Sending: a part of a file on its way to one client, as fast as that client takes it and without blocking the loop.
//
// Tests: tests/services/files/line_test.cpp, http_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "services/files/opening.hpp"
#include "state/base/result.hpp"

namespace tap::services::files {

/// Lifetime: keeps the file open.
class Sending {
 public:
  /// Looked for in memory, and fetched by the pool where it is not, at once.
  static constexpr std::size_t kWindowBytes = std::size_t{256} * 1024;
  /// In one turn; then it is the others' turn.
  static constexpr std::size_t kTurnBytesMax = std::size_t{1} << 20U;

  enum class Next : std::uint8_t {
    done,
    room,    ///< the client takes no more now
    turn,    ///< there is more to send, in another turn
    fetch,   ///< the next `window()` bytes at `offset()` are not in memory
    failed,  ///< see failure()
  };
  using Write = std::function<Result<std::size_t>(int file, std::uint64_t offset, std::size_t bytes)>;

  Sending(std::shared_ptr<const OpenedFile> file, std::uint64_t offset, std::uint64_t bytes)
      : file_(std::move(file)), at_(offset), left_(bytes) {}

  /// `write` is Transport::write_file() or HttpAnswer::write_file().
  [[nodiscard]] Next push(const Write& write);

  [[nodiscard]] std::uint64_t offset() const { return at_; }
  [[nodiscard]] std::size_t window() const;
  /// The window has been fetched: it is sent now, whatever memory says.
  void fetched() { in_memory_to_ = at_ + window(); }
  [[nodiscard]] const std::shared_ptr<const OpenedFile>& file() const { return file_; }
  [[nodiscard]] const Error& failure() const { return failure_; }

 private:
  [[nodiscard]] bool window_in_memory() const;

  std::shared_ptr<const OpenedFile> file_;
  std::uint64_t at_;
  std::uint64_t left_;
  std::uint64_t in_memory_to_ = 0;
  Error failure_;
};

}  // namespace tap::services::files
