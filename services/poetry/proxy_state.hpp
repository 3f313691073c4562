// PoetryProxyState: the poem that a poetry-proxy has fetched.
#pragma once

#include <cstdint>
#include <string>

#include "state/state_codec.hpp"

namespace tap::services {

/// A poem was fetched, whole.
struct PoemFetched {
  std::string upstream;  ///< as it was written
  std::string poem;
  std::uint64_t at_ms = 0;  ///< since 1970

  template <class Archive>
  void serialize(Archive& archive);
};

struct PoetryProxyState {
  static constexpr std::uint32_t kSchemaVersion = 1;
  using Change = PoemFetched;

  std::uint64_t fetched = 0;  ///< how many poems, in all; 0: there is none
  std::string upstream;       ///< the last one's: another's poem is not served
  std::string poem;
  std::uint64_t at_ms = 0;

  bool operator==(const PoetryProxyState&) const = default;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

void apply(PoetryProxyState& state, const PoemFetched& change) noexcept;

[[nodiscard]] const state::StateCodec<PoetryProxyState>& poetry_proxy_codec();

}  // namespace tap::services
