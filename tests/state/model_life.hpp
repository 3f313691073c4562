// Life: one process that keeps two services in a store, in the order in which the worker does it (daemon/worker.cpp),
// but without loop, sockets and threads; and Ledger: what its clients were told, by which every recovery is judged.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/testing/simulated_disk.hpp"
#include "state/store.hpp"

namespace tap::tests {

using testing::outcomes;
using testing::SimulatedDisk;

/// A service's state: how many changes there were, and a hash over all of them in their order. A change says after how
/// many it comes, so that one that is missing or comes twice is met at once.
struct ModelState {
  std::uint64_t count = 0;
  std::uint64_t hash = 0;

  bool operator==(const ModelState&) const = default;
  [[nodiscard]] Bytes save() const;
  [[nodiscard]] Result<void> restore(ByteView payload);
  /// The payload of the next change, with so many bytes of content.
  [[nodiscard]] Bytes next_change(std::uint64_t content, std::size_t bytes) const;
  [[nodiscard]] Result<void> apply(ByteView change);
};

/// The states of the two services: "counter" changes by a few bytes, "album" by kilobytes.
struct ModelStates {
  ModelState counter;
  ModelState album;

  bool operator==(const ModelStates&) const = default;
};

/// What was asked for and what was answered, over all lives of one store. A value.
struct Ledger {
  std::vector<ModelStates> after{ModelStates{}};  ///< the states after each LSN that was asked for
  std::vector<bool> batch_ends{true};             ///< by LSN: whether a batch ends with it
  std::uint64_t acknowledged = 0;                 ///< the last LSN that a client knows of
  std::uint64_t contents = 0;                     ///< no content is ever given twice

  [[nodiscard]] std::uint64_t last() const { return after.size() - 1; }
  /// What is wrong with a recovery that ends with this LSN and these states; nullopt: nothing.
  [[nodiscard]] std::optional<std::string> judge(std::uint64_t lsn, const ModelStates& found) const;
  /// The service goes on from here; what was asked for and not recovered is forgotten.
  void go_on_from(std::uint64_t lsn);
};

/// One change of a batch.
struct Change {
  enum class Kind : std::uint8_t { counter, counter_whole, album };
  Kind kind = Kind::counter;
  std::size_t bytes = 4;
};
using Changes = std::vector<Change>;

/// Lifetime: disk and ledger outlive it. Every Result that is an error is the disk's.
class Life {
 public:
  Life(SimulatedDisk& disk, Ledger& ledger);

  /// Recovers, and begins a journal. On success the ledger goes on from what was found.
  [[nodiscard]] Result<void> start();
  /// Recovers without changing anything.
  [[nodiscard]] Result<void> look();
  /// What the recovery has found wrong.
  [[nodiscard]] const std::optional<std::string>& violation() const { return violation_; }

  /// One batch. When the disk is full, there is room at once and the same batch is tried again, which has to work.
  [[nodiscard]] Result<void> commit(const Changes& changes);
  [[nodiscard]] Result<void> barrier();
  /// Makes a spare segment ready, as a thread of the worker does when there is none.
  void prepare();
  /// A new archive of everything up to now, made from the last one and the journal, while one more batch is committed.
  [[nodiscard]] Result<void> compact(const Changes& meanwhile);
  /// The clean end.
  [[nodiscard]] Result<void> stop();

  [[nodiscard]] state::Store& store() { return store_; }
  [[nodiscard]] const std::optional<state::StoredArchive>& stored() const { return stored_; }

 private:
  [[nodiscard]] Result<void> recover(bool look_only);
  [[nodiscard]] state::Archive collect(const ModelStates& states, std::uint64_t base_lsn) const;
  [[nodiscard]] Result<void> save_archive(std::uint64_t base_lsn);
  [[nodiscard]] Result<state::StoredArchive> build_archive(std::uint64_t until_lsn);
  void append(state::Batch& batch, const Change& change);

  SimulatedDisk& disk_;
  Ledger& ledger_;
  state::Store store_;
  ModelStates states_;
  std::optional<state::StoredArchive> stored_;
  state::JournalEnd recovered_;
  std::uint64_t epoch_ = 1;
  std::optional<state::SegmentSupply> supply_;
  std::unique_ptr<state::JournalWriter> writer_;
  std::optional<std::string> violation_;
};

/// Small ones, so that a few batches fill one.
inline constexpr std::size_t kModelSegmentBytes = std::size_t{32} << 10U;

}  // namespace tap::tests
