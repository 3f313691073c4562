// SequenceState: what the sequence service must never forget.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

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

  /// By name: neither this number nor any above it has been given. With durability reserve this is the end of what is
  /// reserved, and only after a clean stop the number after the last one given.
  ///
  /// A tree, for LIST goes through it in order. Payloads are in the same order, so that a million names are put into
  /// it at its end, one after the other, in a few hundred milliseconds.
  std::map<std::string, std::uint64_t, std::less<>> next;

  bool operator==(const SequenceState&) const = default;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

/// May not throw; a name for which there is no memory ends the process, as every allocation here.
void apply(SequenceState& state, const CounterMoved& change) noexcept;

[[nodiscard]] const state::StateCodec<SequenceState>& sequence_codec();

}  // namespace tap::services
