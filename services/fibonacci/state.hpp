// FibonacciState: what the fibonacci service must never forget.
#pragma once

#include <cstdint>

#include "services/fibonacci/decimal.hpp"
#include "state/state_codec.hpp"

namespace tap::services {

/// One more number was given. It needs no content: which number that is follows from the state.
struct Advanced {
  template <class Archive>
  void serialize(Archive& /*archive*/) {}
};

struct FibonacciState {
  static constexpr std::uint32_t kSchemaVersion = 1;
  using Change = Advanced;

  Decimal a{1};             ///< the number before the last one given
  Decimal b{1};             ///< the last number given, to begin with 1
  std::uint64_t given = 0;  ///< how many numbers have been given

  bool operator==(const FibonacciState&) const = default;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

/// a, b become b, a + b. May not throw; an addition that finds no memory ends the process, as every allocation here.
void apply(FibonacciState& state, const Advanced& change) noexcept;

[[nodiscard]] const state::StateCodec<FibonacciState>& fibonacci_codec();

}  // namespace tap::services
