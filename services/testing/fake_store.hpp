// FakeStore: a journal in memory under the state of one service, which shows what a crash would leave of it.
//
// Tests: tests/services/testing/fake_store_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "services/change_log.hpp"
#include "services/net/refusal.hpp"
#include "services/state_cell.hpp"

namespace tap::testing {

///     auto service = kind.create(options);
///     FakeStore store(*service->state());
///     ... requests ...
///     store.sync();                                   // what real stores do before an answer leaves
///     auto next = kind.create(options);               // the process after a crash
///     CHECK(store.recover(*next->state()).ok());
///
/// Thread: one. Lifetime: the state outlives it; the destructor detaches from it.
class FakeStore final : public services::ChangeLog {
 public:
  explicit FakeStore(services::StatePort& state) : state_(state) {
    whole_ = true;
    sync();  // the first archive
    state_.attach(this);
  }
  ~FakeStore() override { state_.attach(nullptr); }

  // --- what the test plays ---

  /// Makes durable what has happened since the last call, as the end of a turn does.
  void sync() {
    if (whole_) {
      Result<Bytes> payload = state_.save();
      if (payload) open_.push_back({state::RecordType::whole, std::move(payload).value(), state_.schema_version()});
      else error_ = payload.error().message;
    }
    whole_ = false;
    for (Record& record : open_) durable_.push_back(std::move(record));
    open_.clear();
  }
  /// From here on changes are refused, as by a full disk; false ends that.
  void set_full(bool full) { full_ = full; }

  /// Gives a service that was just made the state that is left after a crash now: everything up to the last sync().
  /// Errors: those of the state's restore(), replay() and settle(); internal, when a save() has failed.
  [[nodiscard]] Result<void> recover(services::StatePort& fresh) const {
    if (!error_.empty()) return Error{Fault::internal, "saving the state: " + error_};
    for (const Record& record : durable_) {
      if (Result<void> replayed = fresh.replay(record.type, record.payload, record.schema_version); !replayed)
        return replayed;
    }
    return fresh.settle();
  }

  // --- what the test looks at ---

  /// Changes that a crash would lose.
  [[nodiscard]] std::size_t unsynced() const { return open_.size() + (whole_ ? 1 : 0); }
  /// Changes that are durable, the first state not counted.
  [[nodiscard]] std::size_t durable() const { return durable_.size() - 1; }

  // --- what the state sees ---

  [[nodiscard]] bool wants_changes() const override { return !whole_; }
  void change(ByteView bytes) override {
    refuse_when_full();
    open_.push_back({state::RecordType::change, Bytes(bytes), state_.schema_version()});
  }
  void whole() override {
    refuse_when_full();
    whole_ = true;
  }

 private:
  struct Record {
    state::RecordType type;
    Bytes payload;
    std::uint32_t schema_version;
  };
  void refuse_when_full() const {
    if (full_) throw net::Refusal("the disk is full");
  }

  services::StatePort& state_;
  std::vector<Record> durable_;
  std::vector<Record> open_;
  std::string error_;
  bool whole_ = false;
  bool full_ = false;
};

}  // namespace tap::testing
