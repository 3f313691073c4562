#include "services/committer.hpp"

#include <algorithm>
#include <chrono>

#include "services/net/refusal.hpp"

namespace tap::services {
namespace {

constexpr char kWho[] = "journal";
/// How much the newest sync counts in the average.
constexpr double kNewestWeight = 0.1;
/// A turn that answers many is cut into pieces, and a batch waits for more, for so many times what a sync takes: then
/// syncing is a quarter of the work at most.
constexpr std::uint64_t kWorkPerSync = 3;
/// On a slow disk, so much of a sync's time is given to those who were just answered: what they ask next goes into the
/// same batch as what has come meanwhile, and all are answered once per sync,
/// not half of them (PostgreSQL's commit_delay).
constexpr double kGatherPart = 8;
/// An introduction of every service, at the very most.
constexpr std::size_t kIntroductionBytesMax = 600;
/// A segment that is to end does so although no other is ready, when it has been asked for so often.
constexpr int kEndsAskedMax = 5;
/// What a state may have grown by since it was last asked for its bytes.
constexpr std::size_t kGrowthBytes = 4096;

std::uint64_t microseconds_since(std::chrono::steady_clock::time_point begin) {
  const auto took = std::chrono::steady_clock::now() - begin;
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
}

}  // namespace

/// One service's side of it.
class Committer::ServiceLog final : public ChangeLog {
 public:
  ServiceLog(Committer& committer, std::uint16_t number, StatePort& state, const Durability& durability)
      : committer_(committer), number_(number), state_(state), durability_(durability) {
    if (durability.mode == Durability::Mode::reserve) own_gate_ = std::make_unique<net::Gate>();
  }

  [[nodiscard]] bool wants_changes() const override { return !whole_; }

  void change(ByteView bytes) override {
    committer_.check_room(bytes.size() + state::kRecordHeaderBytes);
    state::append_record(committer_.open_.records, state::RecordType::change, number_, bytes);
    committer_.count(*this);
  }

  void whole() override {
    if (!whole_) {
      committer_.check_room(whole_bytes_max());
      whole_ = true;
      committer_.whole_.push_back(this);
    }
    committer_.count(*this);
  }

  /// The state as it is now, into the batch that is closed.
  Result<void> append_whole(Bytes& records) {
    whole_ = false;
    Result<Bytes> bytes = state_.save();
    if (!bytes) return std::move(bytes).error();
    whole_bytes_ = bytes->size();
    state::append_record(records, state::RecordType::whole, number_, *bytes);
    return {};
  }

  [[nodiscard]] net::Gate* gate() {
    if (durability_.mode == Durability::Mode::strict) return &committer_.gate_;
    return own_gate_.get();
  }
  [[nodiscard]] const Durability& durability() const { return durability_; }
  /// What the state takes as a whole, as far as that is known before.
  [[nodiscard]] std::size_t whole_bytes_max() const { return whole_bytes_ + whole_bytes_ / 4 + kGrowthBytes; }
  [[nodiscard]] std::uint16_t number() const { return number_; }

 private:
  Committer& committer_;
  std::uint16_t number_;
  StatePort& state_;
  Durability durability_;
  std::unique_ptr<net::Gate> own_gate_;  // durability reserve: waits for its own reservations only
  bool whole_ = false;                   // it goes into the open batch as a whole
  std::size_t whole_bytes_ = 0;
};

Committer::Committer(net::Reactor& reactor, state::SegmentSupply& supply, std::unique_ptr<state::JournalWriter> writer,
                     std::function<void(const Error&)> broken, Place place)
    : reactor_(reactor),
      supply_(supply),
      writer_(std::move(writer)),
      on_broken_(std::move(broken)),
      place_(place),
      next_lsn_(writer_->last_lsn() + 1),
      durable_lsn_(writer_->last_lsn()),
      room_(writer_->room()) {
  open_.first_lsn = next_lsn_;
  pass(durable_lsn_);
  gate_.applied(durable_lsn_);
  reactor_.before_flush([this](net::Reactor::Moment moment) { return look(moment); });
  prepare_spare();
}

Committer::~Committer() {
  *alive_ = false;
  reactor_.before_flush(nullptr);
  committing_.wait_idle();
  preparing_thread_.wait_idle();
}

void Committer::add(std::uint16_t number, StatePort& state, const Durability& durability) {
  TAP_ASSERT(durability.journaled());
  if (logs_.size() <= number) logs_.resize(number + std::size_t{1});
  logs_[number] = std::make_unique<ServiceLog>(*this, number, state, durability);
  if (net::Gate* own = logs_[number]->gate(); own != nullptr) {
    own->applied(durable_lsn_);
    own->pass(durable_lsn_);
  }
  state.attach(logs_[number].get());
}

net::Gate* Committer::gate(std::uint16_t number) {
  if (number >= logs_.size() || logs_[number] == nullptr) return nullptr;
  return logs_[number]->gate();
}

// --- the open batch ---------------------------------------------------------------------------------------------

/// One more change is in the open batch.
std::uint64_t Committer::count(ServiceLog& log) {
  const std::uint64_t lsn = next_lsn_++;
  ++open_.lsn_count;
  if (std::find(open_.services.begin(), open_.services.end(), log.number()) == open_.services.end()) {
    open_.services.push_back(log.number());
  }
  if (log.durability().gated()) {
    urgent_ = true;
    ++asked_;
    log.gate()->applied(lsn);
  } else if (!interval_.active()) {
    interval_ = reactor_.call_later(log.durability().interval_ms, [this] { urgent_ = true; });
  }
  return lsn;
}

std::size_t Committer::room() const {
  const std::size_t ready = supply_.ready_bytes();
  return std::max(room_, ready > state::kSegmentDataOffset ? ready - state::kSegmentDataOffset : 0);
}

/// Room is reserved before a change is applied: what was applied will be written. Throws net::Refusal.
void Committer::check_room(std::size_t bytes) {
  if (broken_) throw net::Refusal("the journal cannot be written");
  if (full_) throw net::Refusal("the disk is full");
  const std::size_t needed = open_.records.size() + bytes + kIntroductionBytesMax * logs_.size();
  if (needed + 2 * state::kSegmentDataOffset <= room()) return;
  if (needed > kBatchBytesMax) throw net::Refusal("too many changes at once");
  const Result<void> prepared = make_room(needed);
  if (prepared) return;
  set_full(prepared.error());
  throw net::Refusal("the disk is full");
}

/// At once: changes come faster than segments are made, and have to wait for the disk.
Result<void> Committer::make_room(std::size_t needed) {
  const auto begin = std::chrono::steady_clock::now();
  // Half as much again: a batch that grows change by change would else have a larger segment zeroed for each of them.
  const std::size_t least = needed + 3 * state::kSegmentDataOffset;
  const bool large = needed > state::SegmentSupply::kSegmentBytes / 2;
  Result<void> prepared = supply_.prepare(large ? least + needed / 2 : least);
  if (!prepared && large) prepared = supply_.prepare(least);
  reactor_.note_waiting(microseconds_since(begin));
  return prepared;
}

/// Only the states that are recorded as a whole are still missing in it.
Result<void> Committer::close_batch() {
  for (ServiceLog* log : whole_) {
    if (Result<void> appended = log->append_whole(open_.records); !appended) return appended;
  }
  whole_.clear();
  flight_ = std::exchange(open_, {});
  flight_asked_ = std::exchange(asked_, 0);
  seen_asked_ = 0;
  waits_since_ms_.reset();
  open_.first_lsn = next_lsn_;
  urgent_ = false;
  return {};
}

// --- to the disk ------------------------------------------------------------------------------------------------

bool Committer::in_thread() const { return place_ == Place::adaptive ? slow_ : place_ == Place::thread; }

/// What there is to do at this moment of a turn. Returns whether the loop is to look at once for more to come.
bool Committer::look(net::Reactor::Moment moment) {
  if (in_flight_ && done_.load(std::memory_order_acquire)) finish_in_flight();
  if (!in_flight_) end_segment_if_wanted();  // with something in flight at each of the worker's looks it would never be
  if (urgent_ && !in_flight_ && !broken_ && !gathering_.active()) {
    if (!enough(moment)) return true;
    commit();
  }
  return false;
}

/// Whether the open batch is to be written now, or more may come at once: this turn has more to read, or the next one,
/// which does not sleep, may have. As soon as a turn has brought nothing that somebody waits for, what there is has to do.
bool Committer::enough(net::Reactor::Moment moment) {
  const bool nobody_came = moment == net::Reactor::Moment::read && std::exchange(seen_asked_, asked_) == asked_;
  if (nobody_came || asked_ >= wanted_ || open_.records.size() >= kEnoughBytes) return true;
  const std::uint64_t now_ms = reactor_.now_ms();
  if (!waits_since_ms_) waits_since_ms_ = now_ms;
  return now_ms - *waits_since_ms_ >= patience_ms_;
}

void Committer::commit() {
  interval_.cancel();
  if (Result<void> closed = close_batch(); !closed) {
    set_broken(closed.error());
    return;
  }
  gate_.sealed(flight_.last_lsn());
  in_flight_ = true;
  write_in_flight();
}

/// Writes flight_, here or there; finish_in_flight() gets the result.
void Committer::write_in_flight() {
  const auto write = [this] {
    const auto begin = std::chrono::steady_clock::now();
    result_ = barrier_in_flight_ ? writer_->write_barrier() : writer_->write(flight_);
    took_us_ = static_cast<double>(microseconds_since(begin));
  };
  if (!in_thread()) {
    write();
    reactor_.note_waiting(static_cast<std::uint64_t>(took_us_));
    finish_in_flight();
    return;
  }
  const std::size_t taken = state::padded_batch_bytes(flight_.records.size(), state::kSegmentDataOffset);
  room_ -= std::min(room_, taken);
  done_.store(false, std::memory_order_relaxed);
  committing_.run([this, write, alive = alive_] {
    write();
    done_.store(true, std::memory_order_release);
    reactor_.post([this, alive] {
      if (*alive && in_flight_ && done_.load(std::memory_order_acquire)) finish_in_flight();
    });
  });
}

void Committer::finish_in_flight() {
  TAP_ASSERT(in_flight_ && result_.has_value());
  done_.store(false, std::memory_order_relaxed);
  const Result<void> result = std::move(*result_);
  result_.reset();
  room_ = writer_->room();
  written_bytes_ = writer_->bytes_written();
  if (!result && state::is_disk_full(result.error()) && !writer_->broken()) {
    set_full(result.error());  // the same batch is tried again; nobody has been told anything
    return;
  }
  in_flight_ = false;
  const bool was_barrier = std::exchange(barrier_in_flight_, false);
  if (!result) {
    set_broken(result.error());
    return;
  }
  if (full_) set_roomy();
  learn(was_barrier ? 0 : flight_asked_);
  if (!was_barrier) written();
}

/// For the next batch.
void Committer::learn(std::uint64_t asked) {
  sync_us_ += (took_us_ - sync_us_) * kNewestWeight;
  asked_per_batch_ += (static_cast<double>(asked) - asked_per_batch_) * kNewestWeight;
  slow_ = sync_us_ > (slow_ ? kFastSyncUs : kSlowSyncUs);
  if (asked != 0) wanted_ = std::min((std::exchange(last_asked_, asked) + asked) / 2, kEnoughAsked);
  // A turn that answers many is cut into pieces, each with a sync; none so small that syncing would
  // be most of the work.
  const std::uint64_t piece_us =
      std::max(net::Reactor::kSettleAfterUs, static_cast<std::uint64_t>(sync_us_) * kWorkPerSync);
  reactor_.settle_after(piece_us);
  patience_ms_ = piece_us / 1000 + 1;
}

void Committer::written() {
  ++batches_;
  durable_lsn_ = flight_.last_lsn();
  flight_.records.clear();
  if (open_.records.capacity() == 0) open_.records.swap(flight_.records);  // its memory serves again
  last_write_ms_ = reactor_.now_ms();
  if (slow_ && asked_per_batch_ > kManyChanges) {
    gathering_ = reactor_.call_later(static_cast<std::uint64_t>(sync_us_ / kGatherPart / 1000) + 1, [] {});
  }
  arm_barrier();
  if (supply_.ready_bytes() == 0) prepare_spare();
  else next_spare_ms_ = 0;
  pass(durable_lsn_);
}

void Committer::pass(std::uint64_t lsn) {
  gate_.pass(lsn);
  for (const auto& log : logs_) {
    if (log != nullptr && log->gate() != nullptr && log->gate() != &gate_) log->gate()->pass(lsn);
  }
}

/// One timer for any number of batches: it looks whether the last one is old enough when it fires.
void Committer::arm_barrier() {
  barrier_due_ = true;
  if (barrier_.active()) return;
  barrier_ = reactor_.call_later(kBarrierMs, [this] {
    if (!barrier_due_ || broken_ || full_) return;
    const std::uint64_t quiet_ms = reactor_.now_ms() - last_write_ms_;
    if (in_flight_ || quiet_ms < kBarrierMs) {
      barrier_ = reactor_.call_later(kBarrierMs - std::min(quiet_ms, kBarrierMs - 1), [this] { arm_barrier(); });
      return;
    }
    barrier_due_ = false;
    in_flight_ = barrier_in_flight_ = true;
    write_in_flight();
  });
}

/// Without room it is tried again once a second, and said once.
void Committer::prepare_spare() {
  if (preparing_ || full_ || reactor_.now_ms() < next_spare_ms_) return;
  preparing_ = true;
  preparing_thread_.run([this, alive = alive_] {
    Result<void> prepared = supply_.prepare();
    reactor_.post([this, alive, prepared] {
      if (!*alive) return;
      preparing_ = false;
      // There is room in the present segment still; when that ends, check_room() asks again and refuses.
      if (!prepared && next_spare_ms_ == 0) {
        reactor_.log().write(LogLevel::warning, kWho,
                             prepared.error().message + "; tried again every second while the present segment lasts");
      }
      next_spare_ms_ = prepared ? 0 : reactor_.now_ms() + kRetryMs;
    });
  });
}

// --- trouble ----------------------------------------------------------------------------------------------------

void Committer::set_full(const Error& why) {
  if (!full_) {
    full_ = true;
    reactor_.log().write(
        LogLevel::error, kWho,
        "the disk is full: changes are refused until there is room, reads go on (" + why.message + ")");
  }
  retry_ = reactor_.call_later(kRetryMs, [this] { try_again(); });
}

void Committer::set_roomy() {
  full_ = false;
  next_spare_ms_ = 0;
  reactor_.log().write(LogLevel::info, kWho, "there is room on the disk again: changes are accepted");
}

void Committer::try_again() {
  if (in_flight_) {
    write_in_flight();
    return;
  }
  preparing_thread_.run([this, alive = alive_] {
    Result<void> prepared = supply_.prepare();
    reactor_.post([this, alive, prepared] {
      if (!*alive || !full_) return;
      if (prepared) set_roomy();
      else set_full(prepared.error());
    });
  });
}

void Committer::set_broken(const Error& error) {
  if (broken_) return;
  broken_ = true;
  retry_.cancel();
  reactor_.log().write(LogLevel::error, kWho,
                       error.message + "; what is on the disk is not known, so nothing that was not durable leaves");
  breaking_ = reactor_.call_later(0, [this, error] { on_broken_(error); });
}

// --- the end ----------------------------------------------------------------------------------------------------

Result<void> Committer::close() {
  committing_.wait_idle();
  if (in_flight_ && result_) finish_in_flight();
  place_ = Place::loop;
  if (in_flight_ && !broken_) write_in_flight();  // it waited for room
  if (!in_flight_ && !broken_ && !open_.empty()) commit();
  if (broken_) return Error{Fault::internal, "the journal is broken"};
  if (in_flight_) return Error{Fault::internal, "the disk is full: the last changes could not be made durable"};
  Result<void> sealed = writer_->seal();
  barrier_due_ = false;
  broken_ = true;  // nothing may follow the seal
  return sealed;
}

std::optional<std::uint64_t> Committer::end_segment() {
  if (!ended_at_ && !broken_) {
    end_wanted_ = true;
    ++ends_asked_;
    if (!in_flight_) end_segment_if_wanted();
  }
  return std::exchange(ended_at_, std::nullopt);
}

/// Between two batches, when nobody loses by it: the open batch had its room reserved in the present segment, and the
/// next change should find a segment that is ready. REQUIRES: nothing in flight.
void Committer::end_segment_if_wanted() {
  if (!end_wanted_ || broken_) return;
  if (!open_.empty() && !fits_next_segment()) {
    urgent_ = true;
    return;
  }
  if (!full_ && supply_.ready_bytes() == 0 && ends_asked_ < kEndsAskedMax) {
    prepare_spare();
    return;
  }
  writer_->end_segment();
  room_ = writer_->room();
  ended_at_ = durable_lsn_;
  end_wanted_ = false;
  ends_asked_ = 0;
}

bool Committer::fits_next_segment() const {
  std::size_t needed = open_.records.size() + kIntroductionBytesMax * logs_.size() + 3 * state::kSegmentDataOffset;
  for (const ServiceLog* log : whole_) needed += log->whole_bytes_max();
  return needed <= supply_.ready_bytes();
}

std::string Committer::status() const {
  return "journal: last LSN " + std::to_string(last_lsn()) + ", durable " + std::to_string(durable_lsn_) + ", " +
         std::to_string(batches_) + " batches, sync " + std::to_string(static_cast<std::uint64_t>(sync_us_)) +
         " us in the " + (in_thread() ? "thread" : "loop") + ", " + std::to_string(gate_.held_bytes()) + " bytes held" +
         (full_ ? ", disk full" : "") + (broken_ ? ", ended" : "");
}

}  // namespace tap::services
