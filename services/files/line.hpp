// FilesLine: files by lines. `get NAME` is answered with `ok LENGTH` and the bytes, or `error REASON`,
// in the order asked.
//
// Tests: tests/services/files/line_test.cpp
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "services/files/name.hpp"
#include "services/files/place.hpp"
#include "services/files/sending.hpp"
#include "services/net/deferred.hpp"
#include "services/net/protocol.hpp"
#include "services/net/timer_queue.hpp"

namespace tap::services::files {

/// One file is under way at a time; what was asked meanwhile waits, and reading with it.
///
/// Lifetime: the place outlives it.   Invariants: of the input at most a line and one read wait.
class FilesLine final : public net::Protocol {
 public:
  /// A longer line ends the connection.
  static constexpr std::size_t kLineBytesMax = kNameBytesMax + 16;

  explicit FilesLine(Place& place) : place_(place) {}

  void data_received(std::string_view data) override;
  void end_received() override;
  void output_drained() override;
  void connection_lost(const Error& reason) override;
  [[nodiscard]] bool owes_answer() const override { return busy_ || waiting_.find('\n', taken_) != std::string::npos; }
  [[nodiscard]] std::size_t buffered_bytes() const override;

 private:
  void go_on();
  [[nodiscard]] bool take_line();
  void asked(std::string_view line);
  void get(const std::string& name);
  void answer(const Found& found);
  void refuse(std::string_view reason);
  void send_more();
  void over();

  Place& place_;
  std::string waiting_;    ///< input
  std::size_t taken_ = 0;  ///< of it, from its beginning
  net::Deferred<void> looking_;
  net::Deferred<void> fetching_;
  std::optional<Sending> sending_;
  net::Timer next_turn_;
  bool busy_ = false;  ///< an answer is owed
  bool going_on_ = false;
  bool peer_ended_ = false;
  bool request_open_ = false;  ///< the transport was told that a line has begun
};

}  // namespace tap::services::files
