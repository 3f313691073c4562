// LineProtocol: requests that are lines.
#pragma once

#include <string>
#include <string_view>

#include "services/net/protocol.hpp"

namespace tap::net {

/// Cuts what arrives into lines ending in "\n" (an "\r" before it is dropped). A protocol derives from it and answers
/// line_received(). Lines may be pipelined; while the peer does not read, the rest of them waits.
class LineProtocol : public Protocol {
 public:
  /// Twisted's LineReceiver.MAX_LENGTH.
  static constexpr std::size_t kLineBytesMax = 16'384;

  void data_received(std::string_view data) final;
  void end_received() final;
  void output_drained() final;
  [[nodiscard]] bool owes_answer() const final;
  [[nodiscard]] std::size_t buffered_bytes() const override;

 protected:
  /// A Refusal thrown from it is answered with `ERR <reason>`, and the connection goes on.
  virtual void line_received(std::string_view line) = 0;
  /// A line longer than kLineBytesMax. By default the connection is aborted.
  virtual void line_too_long();

  /// `line` and a newline.
  void send_line(std::string_view line);

 private:
  [[nodiscard]] std::string_view consume(std::string_view data);
  void go_on();
  void tell_request();

  std::string waiting_;  ///< the beginning of a line, or whole lines while the peer does not read
  bool peer_ended_ = false;
  bool request_open_ = false;  ///< the transport was told that a line has begun
};

}  // namespace tap::net
