// OneTimeKeyState: what the onetimekey service must never forget.
#pragma once

#include <cstdint>

#include "state/state_codec.hpp"

namespace tap::services {

/// This number was given. It says which, because where the first one begins is an option, and options change.
struct KeyGiven {
  std::uint64_t key = 0;

  template <class Archive>
  void serialize(Archive& archive);
};

struct OneTimeKeyState {
  static constexpr std::uint32_t kSchemaVersion = 1;
  using Change = KeyGiven;

  std::uint64_t next = 0;   ///< the number after the last one given; means nothing before the first
  std::uint64_t given = 0;  ///< how many numbers have been given

  bool operator==(const OneTimeKeyState&) const = default;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

void apply(OneTimeKeyState& state, const KeyGiven& change) noexcept;

[[nodiscard]] const state::StateCodec<OneTimeKeyState>& onetimekey_codec();

}  // namespace tap::services
