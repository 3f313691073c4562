// Client: a blocking socket with a deadline on everything, for tests. Nothing here sleeps.
#pragma once

#include <cstdint>
#include <string>

#include "state/base/fd.hpp"

namespace tap::tests {

/// Every wait ends after this long; the operation then reports failure and the test fails.
inline constexpr int kPatienceMs = 20'000;

class Client {
 public:
  /// Connects; open() tells whether that worked.
  static Client tcp(std::uint16_t port, const std::string& address = "127.0.0.1");
  static Client unix_socket(const std::string& path);

  [[nodiscard]] bool open() const { return fd_.open(); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Sends all of it; false when the peer is gone.
  bool send(const std::string& bytes);
  void finish_sending();
  /// Sends without reading until the peer has taken nothing for a while: it does not read us any more. The bytes sent.
  std::size_t send_until_stuck();
  /// What one read gives; empty at the end of the stream, or on an error (then failed() is set).
  [[nodiscard]] std::string read_some();
  /// Reads until the stream holds a newline and returns the line without it; empty at the end of the stream.
  [[nodiscard]] std::string read_line();
  [[nodiscard]] std::string read_exactly(std::size_t bytes);
  /// Everything up to the end of the stream.
  [[nodiscard]] std::string read_all();
  /// Whether an operation failed otherwise than by the peer's orderly end (a reset, a deadline).
  [[nodiscard]] bool failed() const { return failed_; }
  /// Ends with a reset.
  void reset();
  void close() { fd_.reset(); }

 private:
  explicit Client(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
  std::string pending_;
  bool failed_ = false;
};

}  // namespace tap::tests
