#include "services/onetimekey/state.hpp"

#include "state/text_codec.hpp"

namespace tap::services {

template <class Archive>
void KeyGiven::serialize(Archive& archive) {
  archive(CEREAL_NVP(key));
}

template <class Archive>
void OneTimeKeyState::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(next), CEREAL_NVP(given));
}

void apply(OneTimeKeyState& state, const KeyGiven& change) noexcept {
  state.next = change.key + 1;
  ++state.given;
}

const state::StateCodec<OneTimeKeyState>& onetimekey_codec() { return state::cereal_codec<OneTimeKeyState>(); }

}  // namespace tap::services
