#include "services/filter_proxy/state.hpp"

#include "state/text_codec.hpp"

namespace tap::services {

RuleCounts& RuleCounts::operator+=(const RuleCounts& more) {
  connections += more.connections;
  images += more.images;
  cookies += more.cookies;
  passed += more.passed;
  return *this;
}

template <class Archive>
void RuleCounts::serialize(Archive& archive) {
  archive(CEREAL_NVP(connections), CEREAL_NVP(images), CEREAL_NVP(cookies), CEREAL_NVP(passed));
}

template <class Archive>
void NamedCounts::serialize(Archive& archive) {
  archive(CEREAL_NVP(rule), CEREAL_NVP(counts));
}

template <class Archive>
void Counted::serialize(Archive& archive) {
  archive(CEREAL_NVP(added), CEREAL_NVP(forgotten));
}

template <class Archive>
void FilterProxyState::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(rules));
}

void apply(FilterProxyState& state, const Counted& change) noexcept {
  for (const std::string& name : change.forgotten) state.rules.erase(name);
  for (const NamedCounts& one : change.added) state.rules[one.rule] += one.counts;
}

const state::StateCodec<FilterProxyState>& filter_proxy_codec() { return state::cereal_codec<FilterProxyState>(); }

}  // namespace tap::services
