// SequenceState: what the sequence service must never forget.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "services/sequence/counters.hpp"
#include "state/state_codec.hpp"

namespace tap::services {

inline constexpr std::size_t kSequenceNameBytesMax = 128;

/// 1 to kSequenceNameBytesMax letters, digits and ._:-/ .
[[nodiscard]] bool is_sequence_name(std::string_view text);

/// A counter goes on with this number; a name that is not there yet begins to be. It says which number, not how many,
/// because where a counter begins is an option, and options change.
struct CounterMoved {
  std::string name;
  std::uint64_t next = 0;
};

struct SequenceState {
  static constexpr std::uint32_t kSchemaVersion = 1;
  using Change = CounterMoved;

  /// By name, the number from which on none has been given. With durability reserve this is the end of what is
  /// reserved, and only after a clean stop the number after the last one given.
  Counters counters;

  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

/// May not throw; a name for which there is no memory ends the process, as every allocation here.
void apply(SequenceState& state, const CounterMoved& change) noexcept;

[[nodiscard]] const state::StateCodec<SequenceState>& sequence_codec();

}  // namespace tap::services
