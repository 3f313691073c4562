// StateCell: a service's state, to look at freely and to change in two ways only, so that no change can be forgotten.
#pragma once

#include <cstdint>
#include <utility>

#include "state/base/bytes.hpp"
#include "state/base/result.hpp"
#include "state/state_codec.hpp"

namespace tap::services {

/// What the application sees of a service's state.
class StatePort {
 public:
  StatePort() = default;
  StatePort(const StatePort&) = delete;
  StatePort& operator=(const StatePort&) = delete;
  virtual ~StatePort() = default;

  [[nodiscard]] virtual std::uint32_t schema_version() const = 0;
  [[nodiscard]] virtual Result<Bytes> save() const = 0;
  /// On error the state is as it was. Errors: damaged; config for a newer schema.
  [[nodiscard]] virtual Result<void> restore(ByteView payload, std::uint32_t schema_version) = 0;
  /// How many changes there were since the start.
  [[nodiscard]] virtual std::uint64_t changes() const = 0;
};

/// Thread: the loop's. Lifetime: the codec lives as long as the program.
///
///     StateCell<CounterState> state_{counter_codec()};
///     state_->count;                                          // look
///     state_.update([](CounterState& s) { ++s.count; });      // change: simple, copies the state
///     state_.record(Counted{3});                              // change: needs apply(CounterState&, const Counted&)
template <class State>
class StateCell final : public StatePort {
 public:
  explicit StateCell(const state::StateCodec<State>& codec) : codec_(codec) {}

  [[nodiscard]] const State& operator*() const { return state_; }
  [[nodiscard]] const State* operator->() const { return &state_; }

  /// Changes a copy and keeps it when `change` returns; when it throws, the state is as it was.
  /// Costs a copy of the state: for small ones.
  template <class Change>
  void update(Change&& change) {
    State next = state_;
    change(next);
    state_ = std::move(next);
    ++changes_;
  }

  /// Applies a description of what changed, by `void apply(State&, const Change&) noexcept` in State's namespace.
  /// It must depend on nothing but its arguments: it is what will be replayed.
  template <class Change>
  void record(const Change& change) {
    static_assert(noexcept(apply(state_, change)), "apply() may not throw: a record is applied or it is not");
    apply(state_, change);
    ++changes_;
  }

  [[nodiscard]] std::uint32_t schema_version() const override { return codec_.schema_version(); }
  [[nodiscard]] Result<Bytes> save() const override { return codec_.encode(state_); }
  [[nodiscard]] Result<void> restore(ByteView payload, std::uint32_t schema_version) override {
    State read{};
    if (Result<void> decoded = codec_.decode(payload, schema_version, read); !decoded) return decoded;
    state_ = std::move(read);
    return {};
  }
  [[nodiscard]] std::uint64_t changes() const override { return changes_; }

 private:
  const state::StateCodec<State>& codec_;
  State state_{};
  std::uint64_t changes_ = 0;
};

}  // namespace tap::services
