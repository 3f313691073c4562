// LineProtocol: requests that are lines, or lines and raw bytes in turn.
//
// Tests: tests/services/net/line_protocol_test.cpp
#pragma once

#include <string>
#include <string_view>

#include "services/net/protocol.hpp"

namespace tap::net {

/// Cuts what arrives into lines ending in "\n" (an "\r" before it is dropped). A protocol derives from it and answers
/// line_received(). Lines may be pipelined; while the peer does not read, the rest of them waits.
///
/// In raw mode (Twisted's setRawMode) bytes are handed on as they come, until set_line_mode(). Both may change inside
/// one read, at any byte.
class LineProtocol : public Protocol {
 public:
  /// Twisted's LineReceiver.MAX_LENGTH.
  static constexpr std::size_t kLineBytesMax = 16'384;

  explicit LineProtocol(std::size_t line_bytes_max = kLineBytesMax) : line_bytes_max_(line_bytes_max) {}

  void data_received(std::string_view data) final;
  void end_received() final;
  void output_drained() final;
  [[nodiscard]] bool owes_answer() const final;
  [[nodiscard]] std::size_t buffered_bytes() const override;

 protected:
  /// A Refusal thrown from it is answered with `ERR <reason>`, and the connection goes on.
  virtual void line_received(std::string_view line) = 0;
  /// A line longer than the limit. By default the connection is aborted.
  virtual void line_too_long();
  /// In raw mode: at least one byte. A protocol that never says set_raw_mode() needs none of it.
  virtual void raw_received(std::string_view bytes);

  /// What follows the line that is being answered is raw.
  void set_raw_mode() { raw_ = true; }
  /// What follows is lines again, beginning with `rest`.
  /// REQUIRES: `rest` is the end of what raw_received() has just been given, or empty.
  void set_line_mode(std::string_view rest = {});

  /// `line` and a newline.
  void send_line(std::string_view line);

 private:
  [[nodiscard]] std::string_view consume(std::string_view data);
  void go_on();
  void tell_request();

  std::string waiting_;  ///< the beginning of a line, or all that came while the peer does not read
  std::size_t line_bytes_max_;
  std::size_t raw_rest_bytes_ = 0;  ///< what set_line_mode() gave back
  bool raw_ = false;
  bool peer_ended_ = false;
  bool request_open_ = false;  ///< the transport was told that a line has begun
};

}  // namespace tap::net
