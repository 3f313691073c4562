#include "services/fibonacci/state.hpp"

#include "state/text_codec.hpp"

namespace tap::services {

/// In JSON and XML a number is its digits; in payloads it is its limbs.
template <class Archive>
  requires std::is_base_of_v<cereal::traits::TextArchive, Archive> std::string save_minimal(const Archive& /*archive*/,
                                                                                            const Decimal& number) {
    return number.text();
  }
template <class Archive>
  requires std::is_base_of_v<cereal::traits::TextArchive, Archive>
void load_minimal(const Archive& /*archive*/, Decimal& number, const std::string& digits) {
  Result<Decimal> parsed = Decimal::parse(digits);
  if (!parsed) throw state::CodecRefusal(parsed.error().message);
  number = std::move(parsed).value();
}

void save(state::BinaryOutput& output, const Decimal& number) { output(number.limbs()); }

void load(state::BoundedInput& input, Decimal& number) {
  std::vector<std::uint64_t> limbs;
  input(limbs);
  Result<Decimal> made = Decimal::from_limbs(std::move(limbs));
  if (!made) throw state::CodecRefusal(made.error().message);
  number = std::move(made).value();
}

template <class Archive>
void FibonacciState::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(a), CEREAL_NVP(b), CEREAL_NVP(given));
}

void apply(FibonacciState& state, const Advanced& /*change*/) noexcept {
  state.a += state.b;
  state.a.swap(state.b);
  ++state.given;
}

const state::StateCodec<FibonacciState>& fibonacci_codec() { return state::cereal_codec<FibonacciState>(); }

}  // namespace tap::services
