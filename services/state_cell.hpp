// StateCell: a service's state, to look at freely and to change in two ways only, so that no change can be forgotten.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "services/change_log.hpp"
#include "state/base/bytes.hpp"
#include "state/base/result.hpp"
#include "state/journal_format.hpp"
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
  /// What the journal says happened after that. On error the state is unspecified. Errors: damaged; config.
  [[nodiscard]] virtual Result<void> replay(state::RecordType type, ByteView payload, std::uint32_t schema_version) = 0;
  /// After the last replay(): brings a state of an older schema to the present one. Errors: damaged; internal.
  [[nodiscard]] virtual Result<void> settle() = 0;
  /// From here on changes are told to `log` (nullptr: to nobody) before they are applied.
  virtual void attach(ChangeLog* log) = 0;
  /// How many changes there were since the start.
  [[nodiscard]] virtual std::uint64_t changes() const = 0;
};

/// Thread: the loop's. Lifetime: the codec lives as long as the program.
///
///     StateCell<CounterState> state_{counter_codec()};
///     state_->count;                                          // look
///     state_.update([](CounterState& s) { ++s.count; });      // change: simple, copies the state
///     state_.record(Counted{3});                              // change: needs apply(CounterState&, const Counted&)
///
/// Both throw net::Refusal, and change nothing, when the disk has no room for the change: let it pass, the protocol
/// answers the request with it.
template <class State>
class StateCell final : public StatePort {
 public:
  using Change = typename state::StateCodec<State>::Change;

  explicit StateCell(const state::StateCodec<State>& codec) : codec_(codec) {}

  [[nodiscard]] const State& operator*() const { return state_; }
  [[nodiscard]] const State* operator->() const { return &state_; }

  /// Changes a copy and keeps it when `change` returns; when it throws, the state is as it was.
  /// Costs a copy of the state, and its bytes once per batch: for small ones.
  template <class Code>
  void update(Code&& change) {
    State next = state_;
    change(next);
    if (log_ != nullptr) log_->whole();
    state_ = std::move(next);
    ++changes_;
  }

  /// Applies a description of what changed, by `void apply(State&, const One&) noexcept` in State's namespace.
  /// It must depend on nothing but its arguments: it is what will be replayed.
  template <class One>
  void record(const One& change) {
    static_assert(noexcept(apply(state_, change)), "apply() may not throw: a record is applied or it is not");
    static_assert(std::is_constructible_v<Change, const One&>, "State::Change does not name this change");
    if (log_ != nullptr) tell(Change(change));
    apply(state_, change);
    ++changes_;
  }

  [[nodiscard]] std::uint32_t schema_version() const override { return codec_.schema_version(); }
  [[nodiscard]] Result<Bytes> save() const override { return codec_.encode(state_); }
  [[nodiscard]] Result<void> restore(ByteView payload, std::uint32_t schema_version) override {
    std::unique_ptr<state::OlderState<State>> older;
    if (schema_version < codec_.schema_version()) older = codec_.make_older();
    if (older != nullptr) {
      if (Result<void> restored = older->restore(payload, schema_version); !restored) return restored;
      older_ = std::move(older);
      return {};
    }
    State read{};
    if (Result<void> decoded = codec_.decode(payload, schema_version, read); !decoded) return decoded;
    state_ = std::move(read);
    older_.reset();
    return {};
  }
  [[nodiscard]] Result<void> replay(state::RecordType type, ByteView payload, std::uint32_t schema_version) override {
    if (type == state::RecordType::whole) return restore(payload, schema_version);
    if (older_ != nullptr && schema_version < codec_.schema_version()) {
      return older_->apply_change(payload, schema_version);
    }
    if (Result<void> settled = settle(); !settled) return settled;
    return codec_.apply_change(state_, payload, schema_version);
  }
  [[nodiscard]] Result<void> settle() override {
    if (older_ == nullptr) return {};
    Result<State> upgraded = older_->upgraded();
    if (!upgraded) return std::move(upgraded).error();
    state_ = std::move(upgraded).value();
    older_.reset();
    return {};
  }
  void attach(ChangeLog* log) override { log_ = log; }
  [[nodiscard]] std::uint64_t changes() const override { return changes_; }

 private:
  void tell(const Change& change) {
    if (!log_->wants_changes()) {
      log_->whole();
      return;
    }
    scratch_.clear();
    const Result<void> encoded = codec_.encode_change(change, scratch_);
    if (!encoded) throw std::runtime_error(encoded.error().message);
    log_->change(scratch_);
  }

  const state::StateCodec<State>& codec_;
  State state_{};
  std::unique_ptr<state::OlderState<State>> older_;  // between restore() and settle(), when the schema was older
  ChangeLog* log_ = nullptr;
  Bytes scratch_;
  std::uint64_t changes_ = 0;
};

}  // namespace tap::services
