// FramedProtocol: requests that tell their length: netstrings, and strings behind a binary length.
//
// Tests: tests/services/net/framed_protocol_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "services/net/protocol.hpp"

namespace tap::net {

/// Cuts what arrives into strings; a protocol derives from one of the classes below and answers string_received().
/// Strings may be pipelined; while the peer does not read, the rest of them waits. What is malformed or longer than the
/// limit ends the connection, with one line in the log. A Refusal ends it in order.
///
/// Lifetime: as any Protocol.   Invariants: of a string that is not whole at most the limit and its frame is kept.
class FramedProtocol : public Protocol {
 public:
  /// Twisted's limit for all of them (MAX_LENGTH).
  static constexpr std::size_t kStringBytesMax = 99'999;

  explicit FramedProtocol(std::size_t string_bytes_max) : string_bytes_max_(string_bytes_max) {}

  void data_received(std::string_view data) final;
  void end_received() final;
  void output_drained() final;
  [[nodiscard]] bool owes_answer() const final;
  [[nodiscard]] std::size_t buffered_bytes() const final;

 protected:
  /// One whole string, of any bytes; the view ends with the call.
  virtual void string_received(std::string_view string) = 0;

  /// What stands first in some bytes: a whole frame, the beginning of one (bytes == 0), or something wrong.
  struct Frame {
    std::size_t bytes = 0;
    std::string_view string;
    std::string wrong;  ///< a sentence; empty when nothing is wrong
  };
  [[nodiscard]] virtual Frame first_frame(std::string_view data) const = 0;
  [[nodiscard]] std::size_t string_bytes_max() const { return string_bytes_max_; }
  [[nodiscard]] Frame too_long() const;

 private:
  [[nodiscard]] std::string_view consume(std::string_view data);
  void go_on();
  void tell_request();

  std::string waiting_;
  std::size_t string_bytes_max_;
  bool peer_ended_ = false;
  bool request_open_ = false;  ///< the transport knows that a string has begun
};

/// `27:the bytes, all 27 of them!!,` (Twisted's NetstringReceiver).
/// Source: D. J. Bernstein, Netstrings (1997): decimal length without leading zeros, colon, bytes, comma.
class NetstringProtocol : public FramedProtocol {
 public:
  explicit NetstringProtocol(std::size_t string_bytes_max = kStringBytesMax) : FramedProtocol(string_bytes_max) {}

 protected:
  void send_string(std::string_view string);

 private:
  [[nodiscard]] Frame first_frame(std::string_view data) const override;
};

/// How many bytes the length takes.
enum class PrefixBytes : std::uint8_t { one = 1, two = 2, four = 4 };

/// A big-endian length of 8, 16 or 32 bits, then so many bytes (Twisted's Int8StringReceiver, Int16..., Int32...).
class IntPrefixedProtocol : public FramedProtocol {
 public:
  explicit IntPrefixedProtocol(PrefixBytes prefix, std::size_t string_bytes_max = kStringBytesMax)
      : FramedProtocol(string_bytes_max), prefix_bytes_(static_cast<std::size_t>(prefix)) {}

 protected:
  /// Errors: usage, when the length does not fit the prefix; nothing is sent then.
  [[nodiscard]] Result<void> send_string(std::string_view string);

 private:
  [[nodiscard]] Frame first_frame(std::string_view data) const override;

  std::size_t prefix_bytes_;
};

}  // namespace tap::net
