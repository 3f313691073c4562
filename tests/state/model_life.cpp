#include "tests/state/model_life.hpp"

#include <algorithm>

#include "state/base/crc32c.hpp"

namespace tap::tests {
namespace {

constexpr char kName[] = "Model";
constexpr std::uint16_t kCounter = 0;
constexpr std::uint16_t kAlbum = 1;
/// An archive of several sectors is torn in more interesting ways.
constexpr std::size_t kStatePadding = 700;

std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;  // splitmix64
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

state::Definition model_definition() {
  state::Definition definition;
  definition.name = kName;
  definition.services.push_back({"counter", "model", {}, "", 1, 0, {}});
  definition.services.push_back({"album", "model", {}, "", 1, 0, {}});
  return definition;
}

std::vector<state::Introduction> introductions() { return {{1, "counter", "model"}, {1, "album", "model"}}; }

/// Applies what the journal says.
class Replay final : public state::ReplaySink {
 public:
  explicit Replay(ModelStates& states) : states_(states) {}
  Result<void> replay(const state::Introduction& of, state::RecordType type, ByteView payload) override {
    ModelState& state = of.service == "counter" ? states_.counter : states_.album;
    return type == state::RecordType::whole ? state.restore(payload) : state.apply(payload);
  }

 private:
  ModelStates& states_;
};

Result<void> restore(const state::Archive& archive, ModelStates& states) {
  const state::Section* counter = archive.find("counter");
  const state::Section* album = archive.find("album");
  if (counter == nullptr || album == nullptr) return Error{Fault::damaged, "a state is missing"};
  if (Result<void> restored = states.counter.restore(counter->payload); !restored) return restored;
  return states.album.restore(album->payload);
}

std::string text(const ModelStates& states) {
  return std::to_string(states.counter.count) + "+" + std::to_string(states.album.count) + " changes";
}

}  // namespace

// --- the state --------------------------------------------------------------------------------------------------

Bytes ModelState::save() const {
  Bytes bytes;
  put_le(bytes, count);
  put_le(bytes, hash);
  for (std::uint64_t value = hash; bytes.size() < kStatePadding;) put_le(bytes, value = mixed(value + 1));
  return bytes;
}

Result<void> ModelState::restore(ByteView payload) {
  ByteReader reader(payload);
  ModelState read;
  read.count = reader.u<std::uint64_t>();
  read.hash = reader.u<std::uint64_t>();
  if (!reader.ok() || read.save() != payload) return Error{Fault::damaged, "a state is not what was saved"};
  *this = read;
  return {};
}

Bytes ModelState::next_change(std::uint64_t content, std::size_t bytes) const {
  Bytes change;
  put_le(change, count);
  for (std::uint64_t value = mixed(content); change.size() < bytes + sizeof count; value = mixed(value + 1)) {
    put_le(change, value);
  }
  return change;
}

Result<void> ModelState::apply(ByteView change) {
  ByteReader reader(change);
  const auto comes_after = reader.u<std::uint64_t>();
  if (!reader.ok() || comes_after != count) {
    return Error{Fault::damaged,
                 "the change after " + std::to_string(comes_after) + " others comes after " + std::to_string(count)};
  }
  ++count;
  hash = mixed(hash + crc32c(change));
  return {};
}

// --- Ledger -----------------------------------------------------------------------------------------------------

std::optional<std::string> Ledger::judge(std::uint64_t lsn, const ModelStates& found) const {
  const std::string where = "it recovers to LSN " + std::to_string(lsn) + " (" + text(found) + "), acknowledged is " +
                            std::to_string(acknowledged) + " of " + std::to_string(last()) + ": ";
  if (lsn < acknowledged) return where + "what was acknowledged is lost";
  if (lsn > last()) return where + "nobody has asked for that";
  if (!batch_ends[lsn]) return where + "a batch is there in part";
  if (!(found == after[lsn])) return where + "the states should be " + text(after[lsn]);
  return std::nullopt;
}

void Ledger::go_on_from(std::uint64_t lsn) {
  after.resize(lsn + 1);
  batch_ends.resize(lsn + 1);
  acknowledged = lsn;
}

// --- Life -------------------------------------------------------------------------------------------------------

Life::Life(SimulatedDisk& disk, Ledger& ledger) : disk_(disk), ledger_(ledger), store_(disk.plug_in()) {}

Result<void> Life::recover(bool look_only) {
  Result<std::optional<state::StoredArchive>> loaded = store_.load(look_only);
  if (!loaded) return std::move(loaded).error();
  stored_ = std::move(loaded).value();
  if (stored_) {
    if (Result<void> restored = restore(stored_->archive, states_); !restored) return restored;
    Replay sink(states_);
    Result<state::JournalEnd> end = store_.replay(stored_->archive, &sink);
    if (!end) return std::move(end).error();
    recovered_ = std::move(end).value();
  }
  violation_ = ledger_.judge(recovered_.last_lsn, states_);
  return {};
}

Result<void> Life::look() { return recover(true); }

Result<void> Life::start() {
  if (Result<void> recovered = recover(false); !recovered) return recovered;
  if (violation_) return {};
  const bool fresh = !stored_;
  if (stored_) {
    if (Result<void> settled = store_.settle(stored_->archive, recovered_); !settled) return settled;
    epoch_ = std::max(stored_->archive.epoch, recovered_.epoch) + 1;
  }
  if (fresh || recovered_.unclean()) {
    if (Result<void> saved = save_archive(recovered_.last_lsn); !saved) return saved;
  }
  supply_.emplace(store_.disk(), kName, kModelSegmentBytes);
  Result<std::unique_ptr<state::JournalWriter>> writer =
      store_.start_journal(*supply_, stored_->archive, recovered_, epoch_, introductions());
  if (!writer) return std::move(writer).error();
  writer_ = std::move(writer).value();
  ledger_.go_on_from(recovered_.last_lsn);
  return {};
}

void Life::append(state::Batch& batch, const Change& change) {
  const bool album = change.kind == Change::Kind::album;
  ModelState& state = album ? states_.album : states_.counter;
  const std::uint16_t number = album ? kAlbum : kCounter;
  const Bytes payload = state.next_change(++ledger_.contents, change.bytes);
  if (change.kind != Change::Kind::counter_whole) {
    state::append_record(batch.records, state::RecordType::change, number, payload);
  }
  TAP_ASSERT(state.apply(payload).ok());
  ++batch.lsn_count;
  if (std::find(batch.services.begin(), batch.services.end(), number) == batch.services.end()) {
    batch.services.push_back(number);
  }
  ledger_.after.push_back(states_);
  ledger_.batch_ends.push_back(false);
}

Result<void> Life::commit(const Changes& changes) {
  state::Batch batch;
  batch.first_lsn = ledger_.last() + 1;
  bool whole = false;
  for (const Change& change : changes) {
    append(batch, change);
    whole = whole || change.kind == Change::Kind::counter_whole;
  }
  // The whole state comes last, as it is when the batch is closed.
  if (whole) state::append_record(batch.records, state::RecordType::whole, kCounter, states_.counter.save());
  ledger_.batch_ends.back() = true;
  Result<void> written = writer_->write(batch);
  if (!written && state::is_disk_full(written.error()) && !writer_->broken()) {
    disk_.heal();
    written = writer_->write(batch);
    if (!written) violation_ = "a batch cannot be written after there is room again: " + written.error().message;
  }
  if (!written) return written;
  ledger_.acknowledged = batch.last_lsn();
  return {};
}

Result<void> Life::barrier() { return writer_->write_barrier(); }

void Life::prepare() { (void)!supply_->prepare().ok(); }

state::Archive Life::collect(const ModelStates& states, std::uint64_t base_lsn) const {
  state::Archive next;
  if (stored_) {
    next = state::successor(stored_->archive, stored_->digest);
  } else {
    next.lineage = state::Lineage::make();
    next.created_ms = state::wall_clock_ms();
    next.writer = state::writer_name();
  }
  next.base_lsn = base_lsn;
  next.epoch = epoch_;
  next.definition = model_definition();
  next.sections.clear();
  next.sections.push_back({"counter", "model", 1, state::PayloadCodec::cereal, states.counter.save()});
  next.sections.push_back({"album", "model", 1, state::PayloadCodec::cereal, states.album.save()});
  return next;
}

Result<void> Life::save_archive(std::uint64_t base_lsn) {
  Result<state::StoredArchive> saved = store_.save(collect(states_, base_lsn));
  if (!saved) return std::move(saved).error();
  stored_ = std::move(saved).value();
  return {};
}

/// From archive and journal alone, as another process would.
Result<state::StoredArchive> Life::build_archive(std::uint64_t until_lsn) {
  ModelStates states;
  if (Result<void> restored = restore(stored_->archive, states); !restored) return std::move(restored).error();
  Replay sink(states);
  state::Store store(disk_.plug_in());
  Result<state::JournalEnd> end = store.replay(stored_->archive, &sink, until_lsn);
  if (!end) return std::move(end).error();
  if (!(states == ledger_.after[until_lsn])) violation_ = "what compaction reads is not what was written";
  return store.add(collect(states, until_lsn));
}

Result<void> Life::compact(const Changes& meanwhile) {
  const std::uint64_t until_lsn = writer_->last_lsn();
  writer_->end_segment();
  if (Result<void> committed = commit(meanwhile); !committed) return committed;
  Result<state::StoredArchive> built = build_archive(until_lsn);
  if (!built) return {};  // it is tried again some day; nothing depends on it
  stored_ = std::move(built).value();
  store_.tidy(stored_->archive.generation, &*supply_);
  return {};
}

Result<void> Life::stop() {
  if (Result<void> sealed = writer_->seal(); !sealed) return sealed;
  return save_archive(writer_->last_lsn());
}

}  // namespace tap::tests
