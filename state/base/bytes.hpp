// Bytes: little-endian reading and writing of plain memory, with every read bounded.
//
// All our formats are little-endian whatever the machine is (state/FORMAT.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace tap {

using Bytes = std::string;  ///< owned bytes; std::string because it grows fast and compares, hashes and prints
using ByteView = std::string_view;

/// Appends `value` to `out`, least significant byte first.
template <class Unsigned>
void put_le(Bytes& out, Unsigned value) {
  char raw[sizeof(Unsigned)];
  for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
    raw[i] = static_cast<char>(static_cast<unsigned char>(static_cast<std::uint64_t>(value) >> (8 * i)));
  }
  out.append(raw, sizeof raw);
}

/// Reads sizeof(Unsigned) bytes at `at`. REQUIRES: they are there.
template <class Unsigned>
[[nodiscard]] Unsigned get_le(const char* at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(at[i])) << (8 * i);
  }
  return static_cast<Unsigned>(value);
}

/// Walks over bytes that nobody has checked yet. A read past the end yields zero and makes ok() false for good, so
/// that a run of reads is checked once, at its end.
class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : bytes_(bytes) {}

  template <class Unsigned>
  [[nodiscard]] Unsigned u() {
    const ByteView raw = take(sizeof(Unsigned));
    return raw.size() == sizeof(Unsigned) ? get_le<Unsigned>(raw.data()) : Unsigned{0};
  }
  /// The next `count` bytes, or nothing when fewer are left.
  [[nodiscard]] ByteView take(std::uint64_t count) {
    if (!ok_ || count > bytes_.size() - at_) {
      ok_ = false;
      return {};
    }
    const ByteView piece = bytes_.substr(at_, static_cast<std::size_t>(count));
    at_ += piece.size();
    return piece;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t offset() const { return at_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }

 private:
  ByteView bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

/// Lowercase hexadecimal of any bytes.
[[nodiscard]] std::string to_hex(ByteView bytes);
/// The inverse; false (and `out` unspecified) when `text` is not an even number of hexadecimal digits.
[[nodiscard]] bool from_hex(std::string_view text, Bytes& out);

}  // namespace tap
