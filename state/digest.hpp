// Digest and Lineage: how an archive's content and an application's identity are named.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "state/base/bytes.hpp"
#include "state/base/result.hpp"

namespace tap::state {

/// SHA-256 (FIPS 180-4).
struct Digest {
  std::array<char, 32> bytes{};

  bool operator==(const Digest&) const = default;
  [[nodiscard]] ByteView view() const { return {bytes.data(), bytes.size()}; }
  [[nodiscard]] std::string text() const { return to_hex(view()); }
};

/// The SHA-256 of `bytes`.
[[nodiscard]] Digest sha256(ByteView bytes);

/// The identity an application gets when it is first made: a random UUID (RFC 9562, version 4). All zero means none.
struct Lineage {
  std::array<char, 16> bytes{};

  bool operator==(const Lineage&) const = default;
  [[nodiscard]] bool none() const { return *this == Lineage{}; }
  [[nodiscard]] ByteView view() const { return {bytes.data(), bytes.size()}; }
  /// 8-4-4-4-12 hexadecimal digits.
  [[nodiscard]] std::string text() const;

  [[nodiscard]] static Lineage make();
  [[nodiscard]] static Result<Lineage> parse(std::string_view text);
};

}  // namespace tap::state
