#include "tests/services/tickets.hpp"

#include <stdexcept>

#include "state/text_codec.hpp"

namespace tap::tests {

template <class Archive>
void TicketsV1::Taken::serialize(Archive& archive) {
  archive(CEREAL_NVP(how_many));
}
template <class Archive>
void TicketsV1::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(next));
}
template <class Archive>
void TicketsV2::Taken::serialize(Archive& archive) {
  archive(CEREAL_NVP(how_many));
}
template <class Archive>
void TicketsV2::Renamed::serialize(Archive& archive) {
  archive(CEREAL_NVP(prefix));
}
template <class Archive>
void TicketsV2::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(next), CEREAL_NVP(prefix));
}
template <class Archive>
void Tickets::Taken::serialize(Archive& archive) {
  archive(CEREAL_NVP(prefix), CEREAL_NVP(how_many));
}
template <class Archive>
void Tickets::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(next));
}

void apply(TicketsV1& state, const TicketsV1::Taken& change) noexcept { state.next += change.how_many; }
void apply(TicketsV2& state, const TicketsV2::Taken& change) noexcept { state.next += change.how_many; }
void apply(TicketsV2& state, const TicketsV2::Renamed& change) noexcept { state.prefix = change.prefix; }
void apply(Tickets& state, const Tickets::Taken& change) noexcept { state.next[change.prefix] += change.how_many; }

TicketsV2 upgrade(TicketsV1&& old) { return {old.next, "T"}; }
Tickets upgrade(TicketsV2&& old) {
  if (old.prefix == "cursed") throw std::runtime_error("this prefix cannot be upgraded");
  return {{{std::move(old.prefix), old.next}}};
}

const state::StateCodec<TicketsV1>& tickets_v1_codec() { return state::cereal_codec<TicketsV1>(); }
const state::StateCodec<TicketsV2>& tickets_v2_codec() { return state::cereal_codec<TicketsV2>(); }
const state::StateCodec<Tickets>& tickets_codec() { return state::cereal_codec<Tickets>(); }

}  // namespace tap::tests
