// Committer: the straight line from a state's change to the reply that may leave.
//
// A change is appended to the open batch and then applied; the batch goes to the disk; when it is durable the gate lets
// out what was written meanwhile. One batch is in flight to one sync, the next one fills.
//
// When the batch goes: when as many have asked as asked for the last ones, or a turn of the loop brings nobody more, or
// it has waited for three times what a sync takes. A batch for each turn would be many small ones, and a sync costs
// as much processor time as ten requests and more.
//
// Where the sync runs: in the loop, as long as the disk is not slow. Measured (tools/bench sync, README "Durability"):
// handing a batch to a thread and back costs as much as a sync of 0.2 ms; and what is gained by working for one half of
// the clients while the other is synced is lost again by twice as many syncs. On a slow disk the loop would stand
// still, and with it every service that has nothing to do with this disk: there the sync has a thread of its own.
//
// Tests: tests/services/committer_test.cpp, committer_batch_test.cpp
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/durability.hpp"
#include "services/net/gate.hpp"
#include "services/net/reactor.hpp"
#include "services/state_cell.hpp"
#include "services/work_thread.hpp"
#include "state/journal.hpp"

namespace tap::services {

/// Thread:   the loop's.
/// Lifetime: the reactor and the supply outlive it, it outlives the states and the connections that use it.
///           The destructor waits for a sync under way and writes nothing more; close() is the clean end.
class Committer {
 public:
  enum class Place : std::uint8_t { adaptive, loop, thread };

  /// A full disk is asked again so often.
  static constexpr std::uint64_t kRetryMs = 1000;
  /// So long after the last batch an empty one proves that it was durable (state/FORMAT.md).
  static constexpr std::uint64_t kBarrierMs = 100;
  /// Changes of one batch; more are refused.
  static constexpr std::size_t kBatchBytesMax = std::size_t{256} << 20U;
  /// A disk is slow when its syncs take longer than the first on average, until they take less than the second.
  static constexpr double kSlowSyncUs = 3000;
  static constexpr double kFastSyncUs = 1000;
  /// On a slow disk fewer changes in a batch are not worth waiting for more.
  static constexpr double kManyChanges = 8;
  /// A batch that so many wait for, or that has so many bytes, does not wait for more.
  static constexpr std::uint64_t kEnoughAsked = 1000;
  static constexpr std::size_t kEnoughBytes = std::size_t{256} << 10U;

  /// `broken` is called once, from a later turn, when the journal cannot be trusted any more: nothing that was not
  /// durable will ever leave, and the process has to end so that the next one recovers from what is on the disk.
  Committer(net::Reactor& reactor, state::SegmentSupply& supply, std::unique_ptr<state::JournalWriter> writer,
            std::function<void(const Error&)> broken, Place place = Place::adaptive);
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;
  ~Committer();

  /// Takes a service in, by its number in the journal; from here on its changes are journaled.
  void add(std::uint16_t number, StatePort& state, const Durability& durability);
  /// What the output of that service waits for; nullptr: for nothing.
  [[nodiscard]] net::Gate* gate(std::uint16_t number);

  /// Makes durable what is open and seals the journal. Blocks. Errors: those of the disk; then the journal is not
  /// sealed, and what was not durable has not left either.
  [[nodiscard]] Result<void> close();
  /// Ends the present segment, so that everything up to the LSN returned can be folded in. Nothing as long as it cannot
  /// be ended; it is when it can, and to be asked for again.
  [[nodiscard]] std::optional<std::uint64_t> end_segment();

  /// Bytes of batches since begin_counting(), or the start: what a compaction would fold in.
  [[nodiscard]] std::uint64_t counted_bytes() const { return written_bytes_ - counted_from_; }
  void begin_counting() { counted_from_ = written_bytes_; }
  [[nodiscard]] std::uint64_t last_lsn() const { return next_lsn_ - 1; }
  [[nodiscard]] std::uint64_t durable_lsn() const { return durable_lsn_; }
  [[nodiscard]] std::uint32_t chain() const { return writer_->chain(); }
  /// Whether changes are refused at present.
  [[nodiscard]] bool refuses() const { return full_ || broken_; }
  [[nodiscard]] bool disk_full() const { return full_; }
  /// A line for the status report.
  [[nodiscard]] std::string status() const;

 private:
  class ServiceLog;
  bool look(net::Reactor::Moment moment);
  [[nodiscard]] bool enough(net::Reactor::Moment moment);
  void commit();
  [[nodiscard]] Result<void> close_batch();
  void write_in_flight();
  void finish_in_flight();
  void learn(std::uint64_t asked);
  void written();
  void check_room(std::size_t bytes);
  [[nodiscard]] Result<void> make_room(std::size_t needed);
  [[nodiscard]] std::size_t room() const;
  std::uint64_t count(ServiceLog& log);
  void pass(std::uint64_t lsn);
  void end_segment_if_wanted();
  [[nodiscard]] bool fits_next_segment() const;
  void arm_barrier();
  void prepare_spare();
  void set_full(const Error& why);
  void set_roomy();
  void try_again();
  void set_broken(const Error& error);
  [[nodiscard]] bool in_thread() const;

  net::Reactor& reactor_;
  state::SegmentSupply& supply_;
  std::unique_ptr<state::JournalWriter> writer_;  // in_flight_: touched by the one who writes only
  std::function<void(const Error&)> on_broken_;
  Place place_;
  net::Gate gate_;
  std::vector<std::unique_ptr<ServiceLog>> logs_;  // by number; nullptr where the service is not journaled
  std::vector<ServiceLog*> whole_;                 // whose state goes into the open batch as a whole
  state::Batch open_;
  state::Batch flight_;
  std::uint64_t next_lsn_ = 1;
  std::uint64_t durable_lsn_ = 0;
  std::size_t room_ = 0;  // as the writer had it when nothing was in flight, less what is
  bool in_flight_ = false;
  bool barrier_in_flight_ = false;
  std::atomic<bool> done_ = false;      // in a thread: what was in flight is written, result_ tells how
  std::optional<Result<void>> result_;  // of what was in flight, set by whoever wrote it before it says so
  double took_us_ = 0;
  double sync_us_ = 0;  // the average, of late; so is the next
  double asked_per_batch_ = 0;
  std::uint64_t asked_ = 0;  // changes of the open batch that somebody waits for; also of the one in flight,
  std::uint64_t flight_asked_ = 0;
  std::uint64_t last_asked_ = 0;                 // and of the last one
  std::uint64_t wanted_ = 0;                     // so many, and the open batch goes
  std::uint64_t seen_asked_ = 0;                 // asked_, when the last turn had read what was there
  std::optional<std::uint64_t> waits_since_ms_;  // the open batch, for more
  std::uint64_t patience_ms_ = 1;
  bool slow_ = false;    // the disk: the sync has a thread
  bool urgent_ = false;  // the open batch has changes that somebody waits for
  bool full_ = false;
  bool broken_ = false;
  bool preparing_ = false;
  bool barrier_due_ = false;
  bool end_wanted_ = false;                // of the present segment
  std::optional<std::uint64_t> ended_at_;  // that LSN, and nobody knows it yet
  int ends_asked_ = 0;                     // for an end that did not come yet
  std::uint64_t next_spare_ms_ = 0;        // 0: the last one could be made
  std::uint64_t last_write_ms_ = 0;
  std::uint64_t batches_ = 0;
  std::uint64_t written_bytes_ = 0;  // the writer's, as it was when nothing was in flight
  std::uint64_t counted_from_ = 0;
  net::Timer interval_;
  net::Timer barrier_;
  net::Timer retry_;
  net::Timer breaking_;
  net::Timer gathering_;  // while it runs the open batch waits for more
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  WorkThread committing_;
  WorkThread preparing_thread_{WorkThread::Urgency::later};
};

}  // namespace tap::services
