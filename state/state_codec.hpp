// StateCodec: what the rest of the program needs to know of a service's state, without knowing its type or cereal.
//
// A kind with state defines one function, in the .cpp file that includes state/text_codec.hpp:
//     const state::StateCodec<MyState>& my_codec() { return state::cereal_codec<MyState>(); }
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "state/base/bytes.hpp"
#include "state/base/result.hpp"

namespace tap::state {

class TextOutput;  // text_codec.hpp: one of cereal's text archives being written
class TextInput;   // text_codec.hpp: one being read

/// A state type seen through its payloads only: what `tap` needs.
/// Thread: any; it has no state. Lifetime: the whole program.
class StateType {
 public:
  StateType() = default;
  StateType(const StateType&) = delete;
  StateType& operator=(const StateType&) = delete;
  virtual ~StateType() = default;

  /// The version that encode() writes; older ones are read, newer ones refused.
  [[nodiscard]] virtual std::uint32_t schema_version() const = 0;
  /// The payload of a state that nothing has happened to.
  [[nodiscard]] virtual Result<Bytes> initial() const = 0;
  /// Whether the payload decodes completely. Errors: damaged, config (newer schema).
  [[nodiscard]] virtual Result<void> check(ByteView payload, std::uint32_t version) const = 0;

  /// Writes the payload's state as a value named "state". Throws what cereal throws: called from text.cpp only.
  virtual void write_text(TextOutput& output, ByteView payload, std::uint32_t version) const = 0;
  /// Reads the value named "state" and gives its payload. Throws what cereal throws: called from text.cpp only.
  [[nodiscard]] virtual Bytes read_text(TextInput& input) const = 0;
};

/// The change of a state that has none: it is recorded as a whole only.
struct NoChange {};

/// `using Change = ...;` in a state: one type, or a std::variant of several, that describe what can change. Each has
/// `void apply(State&, const ThatChange&) noexcept` beside the state, and serialize() like the state.
template <class State>
struct ChangeOf {
  using Type = NoChange;
};
template <class State>
  requires requires { typename State::Change; }
struct ChangeOf<State> {
  using Type = typename State::Change;
};

/// A state of an older schema while the journal is replayed on it: changes that were recorded under a version are
/// applied to a state of that version, and only then comes the next step. Thread: one. Errors: damaged;
/// internal when a step throws.
template <class State>
class OlderState {
 public:
  OlderState() = default;
  OlderState(const OlderState&) = delete;
  OlderState& operator=(const OlderState&) = delete;
  virtual ~OlderState() = default;

  [[nodiscard]] virtual Result<void> restore(ByteView payload, std::uint32_t version) = 0;
  [[nodiscard]] virtual Result<void> apply_change(ByteView bytes, std::uint32_t version) = 0;
  /// The state in the present schema. May be called once.
  [[nodiscard]] virtual Result<State> upgraded() = 0;
};

/// The same, for the service that holds the state.
///
/// Versions: a state with `using Previous = ...;`, a state type whose kSchemaVersion is one less, is read from payloads
/// of that version through `State upgrade(Previous&& old)` beside it, one step at a time down to the first version. A
/// state without Previous reads older payloads itself, by the version that its serialize() is given.
template <class State>
class StateCodec : public StateType {
 public:
  using Change = typename ChangeOf<State>::Type;

  /// Appends the change's bytes to `out`. Errors: internal, when its serialize() throws; then `out` is unspecified.
  [[nodiscard]] virtual Result<void> encode_change(const Change& change, Bytes& out) const = 0;
  /// Applies a change that encode_change() wrote under this schema version. Errors: damaged; config (newer schema).
  [[nodiscard]] virtual Result<void> apply_change(State& state, ByteView bytes, std::uint32_t version) const = 0;
  /// For payloads of older versions; nullptr when there is no Previous.
  [[nodiscard]] virtual std::unique_ptr<OlderState<State>> make_older() const { return nullptr; }

  [[nodiscard]] virtual Result<Bytes> encode(const State& state) const = 0;
  /// On error `state` is unspecified. Errors: damaged, config (newer schema).
  [[nodiscard]] virtual Result<void> decode(ByteView payload, std::uint32_t version, State& state) const = 0;
};

}  // namespace tap::state
