#include "services/poetry/proxy_state.hpp"

#include "state/text_codec.hpp"

namespace tap::services {

template <class Archive>
void PoemFetched::serialize(Archive& archive) {
  archive(CEREAL_NVP(upstream), CEREAL_NVP(poem), CEREAL_NVP(at_ms));
}

template <class Archive>
void PoetryProxyState::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(fetched), CEREAL_NVP(upstream), CEREAL_NVP(poem), CEREAL_NVP(at_ms));
}

void apply(PoetryProxyState& state, const PoemFetched& change) noexcept {
  ++state.fetched;
  state.upstream = change.upstream;
  state.poem = change.poem;
  state.at_ms = change.at_ms;
}

const state::StateCodec<PoetryProxyState>& poetry_proxy_codec() { return state::cereal_codec<PoetryProxyState>(); }

}  // namespace tap::services
