#include "daemon/worker.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "daemon/compactor.hpp"
#include "services/units.hpp"

namespace tap::daemon {
namespace {

constexpr char kWho[] = "tapd";
constexpr std::uint64_t kJournalLookMs = 1000;
/// How long after a compaction that was to make room on a full disk another one is tried: twice as long each time.
constexpr std::uint64_t kFullWaitMs = 5000;
constexpr std::uint64_t kFullWaitMaxMs = 300'000;
/// A journal of up to this much is never worth an archive of its own (or up to the archive's own size,
/// if that is more).
constexpr std::uint64_t kJournalBytesMax = std::uint64_t{16} << 20U;

/// A service may use every descriptor the system grants; the low default is for select(2).
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// For measurements (tools/bench): where the journal is synced, "loop" or "thread";
/// otherwise as the disk's speed tells.
services::Committer::Place commit_place() {
  const char* given = std::getenv("TAPD_SYNC_IN");
  const std::string place = given == nullptr ? "" : given;
  if (place == "loop") return services::Committer::Place::loop;
  if (place == "thread") return services::Committer::Place::thread;
  return services::Committer::Place::adaptive;
}

}  // namespace

Result<TlsKeysOfSockets> load_keys(const WorkerPlan& plan) {
  TlsKeysOfSockets keys;
  for (const PlannedSocket& socket : plan.sockets) {
    keys.emplace_back();
    if (!socket.encrypted) continue;
    Result<std::unique_ptr<net::TlsServer>> loaded = net::TlsServer::load(socket.tls);
    if (!loaded) {
      loaded.error().fault = Fault::unavailable;
      return std::move(loaded.error()).with("service '" + socket.service + "', " + socket.text);
    }
    keys.back() = std::move(loaded).value();
  }
  return keys;
}

Worker::Worker(WorkerPlan plan, TlsKeysOfSockets keys, const services::Registry& kinds, Log& log,
               std::function<void(Message)> report)
    : plan_(std::move(plan)),
      keys_(std::move(keys)),
      kinds_(kinds),
      log_(log),
      report_(std::move(report)),
      reactor_(std::make_unique<net::Reactor>(log)) {
  if (plan_.lock_fd >= 0) lock_.emplace(state::StoreLock::inherited(Fd(plan_.lock_fd)));
  if (plan_.store_fd >= 0) store_.emplace(Fd(plan_.store_fd));
}

Worker::~Worker() {
  housekeeping_.wait_idle();
  journal_watch_.cancel();
  application_.reset();
  committer_.reset();
  stop_deadline_.cancel();
  finishing_.cancel();
}

Result<void> Worker::start() {
  raise_descriptor_limit();
  Result<void> started = recover();
  if (started) started = open_ports();
  if (started) {
    report_({Message::Type::ready, Fault::internal, "", Fd()});
  } else {
    report_({Message::Type::failed, started.error().fault, started.error().message, Fd()});
  }
  return started;
}

Result<void> Worker::load() {
  if (store_) {
    Result<std::optional<state::StoredArchive>> loaded = store_->load(!plan_.save);
    if (!loaded) return std::move(loaded.error()).with("the store");
    say_report();
    stored_ = std::move(loaded).value();
  }
  if (!stored_ && !plan_.archive.empty()) {
    Result<state::Archive> archive = state::decode_archive(plan_.archive);
    if (!archive) return std::move(archive).error();
    stored_ = state::StoredArchive{std::move(archive).value(), state::archive_digest(plan_.archive), "-f"};
  }
  return {};
}

/// Archive, then journal; what an unclean end has left is settled and folded into a fresh archive
/// before the ports open.
Result<void> Worker::recover() {
  if (Result<void> loaded = load(); !loaded) return loaded;
  Result<std::unique_ptr<services::Application>> made =
      services::Application::create(plan_.definition, kinds_, *reactor_, plan_.start_dir);
  if (!made) return std::move(made).error();
  application_ = std::move(made).value();
  if (stored_) {
    if (Result<void> restored = application_->restore(stored_->archive); !restored) return restored;
    say_resumed();
    forget_payloads();
    if (Result<void> replayed = replay(); !replayed) return std::move(replayed.error()).with("the store");
    if (Result<void> settled = application_->settle(); !settled) return settled;
  }
  if (!plan_.save) return {};
  const bool fresh = !stored_;
  const bool unclean = recovered_.unclean();
  if (stored_) {
    if (Result<void> settled = store_->settle(stored_->archive, recovered_); !settled) return settled;
    epoch_ = std::max(stored_->archive.epoch, recovered_.epoch) + 1;
  }
  say_report();
  // The first archive is written before the first client comes: it carries the lineage, and it finds out now, not at
  // the stop, whether the directory can be written.
  if (fresh || unclean) {
    if (Result<void> saved = save_archive(recovered_.last_lsn); !saved) return saved;
  }
  if (fresh) log_.write(LogLevel::info, kWho, "a new store: lineage " + stored_->archive.lineage.text());
  return application_->journaled() ? start_journal() : Result<void>();
}

/// Reads the journal behind the archive. Without a store there is none.
Result<void> Worker::replay() {
  if (!store_) return {};
  Result<state::JournalEnd> end = store_->replay(stored_->archive, application_.get());
  if (!end) return std::move(end).error();
  recovered_ = std::move(end).value();
  if (recovered_.records != 0) {
    log_.write(LogLevel::info, kWho,
               "replayed " + std::to_string(recovered_.records) + " changes in " + std::to_string(recovered_.batches) +
                   " batches from the journal, up to LSN " + std::to_string(recovered_.last_lsn));
  }
  return {};
}

/// The services have their states; only what nobody has restored is needed for the next archive.
void Worker::forget_payloads() {
  std::vector<state::Section>& sections = stored_->archive.sections;
  sections.erase(std::remove_if(sections.begin(), sections.end(),
                                [this](const state::Section& section) {
                                  return plan_.definition.find(section.service) != nullptr;
                                }),
                 sections.end());
  stored_->archive.pending.clear();  // the application has these
}

Result<void> Worker::save_archive(std::uint64_t base_lsn) {
  Result<state::Archive> archive = application_->collect(stored_, base_lsn, epoch_);
  if (!archive) return std::move(archive).error();
  Result<state::StoredArchive> saved = store_->save(std::move(archive).value());
  if (!saved) return std::move(saved).error();
  stored_ = std::move(saved).value();
  forget_payloads();
  say_report();
  return {};
}

Result<void> Worker::start_journal() {
  supply_.emplace(store_->disk(), plan_.definition.name);
  Result<std::unique_ptr<state::JournalWriter>> writer =
      store_->start_journal(*supply_, stored_->archive, recovered_, epoch_, application_->introductions());
  if (!writer) return std::move(writer.error()).with("starting the journal");
  committer_ = std::make_unique<services::Committer>(
      *reactor_, *supply_, std::move(writer).value(), [this](const Error& error) { journal_broken(error); },
      commit_place());
  application_->journal(*committer_);
  watch_journal();
  return {};
}

// --- compaction -------------------------------------------------------------------------------------------------

void Worker::watch_journal() {
  journal_watch_ = reactor_->call_later(kJournalLookMs, [this] {
    watch_journal();
    begin_compaction();
  });
}

/// When the journal has outgrown the archive: then reading it would cost more than reading a new archive. Or when the
/// disk is full and the journal is a part of that: what the last two archives do not need is let go.
bool Worker::compaction_due() {
  if (committer_->counted_bytes() >= std::max(kJournalBytesMax, stored_->file_bytes)) return true;
  if (!committer_->disk_full()) {
    full_wait_ms_ = kFullWaitMs;
    return false;
  }
  return committer_->durable_lsn() > older_base_lsn_ && reactor_->now_ms() >= full_look_ms_;
}

void Worker::begin_compaction() {
  if (stopping_ || compaction_ || !compaction_due()) return;
  const std::optional<std::uint64_t> until = committer_->end_segment();
  if (!until) return;  // it cannot be now: at the next look
  if (committer_->disk_full()) {
    full_look_ms_ = reactor_->now_ms() + full_wait_ms_;
    full_wait_ms_ = std::min(2 * full_wait_ms_, kFullWaitMaxMs);
  }
  compaction_ = services::CompactionOrder{*until, epoch_, stored_->archive.generation + 1};
  committer_->begin_counting();
  report_({Message::Type::compact, Fault::internal, compaction_->text(), Fd()});
}

void Worker::compacted(const std::string& text) {
  if (!compaction_) return;
  const services::CompactionOrder order = *std::exchange(compaction_, std::nullopt);
  const CompactionResult result = CompactionResult::parse(text);
  if (adopt_compacted(order, result.done ? result.digest : "", result.file_bytes)) {
    log_.write(LogLevel::info, kWho,
               "compacted the journal up to LSN " + std::to_string(order.until_lsn) + " into " + stored_->file);
    tidy(order.generation);
    full_look_ms_ = 0;
    full_wait_ms_ = kFullWaitMs;
  } else if (!finish_after_compaction_) {
    log_.write(LogLevel::warning, kWho,
               std::string("compaction came to nothing and is tried again ") +
                   (committer_->disk_full() ? "after a while: " : "when the journal has grown: ") + result.why);
  }
  if (finish_after_compaction_) finishing_ = reactor_->call_later(0, [this] { finish(); });
}

/// The archive that another process has made is ours now. Without a word from that process its archive may still be
/// there: killed between the rename and the word.
bool Worker::adopt_compacted(const services::CompactionOrder& order, const std::string& digest,
                             std::uint64_t file_bytes) {
  state::Digest known;
  Bytes raw;
  if (from_hex(digest, raw) && raw.size() == known.bytes.size()) {
    std::copy(raw.begin(), raw.end(), known.bytes.begin());
  } else {
    Result<std::uint64_t> newest = store_->newest_generation();
    if (!newest || *newest != order.generation) return false;
    Result<std::optional<state::StoredArchive>> found = store_->load(true);
    if (!found || !*found || (*found)->archive.generation != order.generation) return false;
    known = (*found)->digest;
    file_bytes = (*found)->file_bytes;
  }
  state::Archive& archive = stored_->archive;
  older_base_lsn_ = archive.base_lsn;
  state::Archive next = state::successor(archive, stored_->digest);
  archive = std::move(next);
  archive.base_lsn = order.until_lsn;
  archive.epoch = order.epoch;
  stored_->digest = known;
  stored_->file_bytes = file_bytes;
  stored_->file = plan_.definition.name + "-" + std::to_string(order.generation) + ".tap";
  return true;
}

/// Removing and zeroing files takes its time; the loop does not wait for it.
void Worker::tidy(std::uint64_t generation) {
  housekeeping_.run([this, generation] { store_->tidy(generation, &*supply_); });
}

/// Nothing that was not durable leaves any more, and nothing is written: the next worker recovers from the disk.
void Worker::journal_broken(const Error& error) {
  log_.write(LogLevel::error, kWho, "ending, to recover from what is on the disk: " + error.message);
  exit_code_ = static_cast<int>(Fault::internal);
  application_->abort_connections();
  reactor_->stop();
}

void Worker::say_report() {
  for (const std::string& sentence : store_->take_report()) log_.write(LogLevel::warning, kWho, sentence);
}

void Worker::say_resumed() const {
  const state::Archive& archive = stored_->archive;
  log_.write(LogLevel::info, kWho,
             "resuming generation " + std::to_string(archive.generation) + ", saved " +
                 services::time_text(archive.created_ms) + " by " + archive.writer);
  for (const state::Section& section : archive.sections) {
    if (plan_.definition.find(section.service) != nullptr) continue;
    log_.write(
        LogLevel::info, kWho,
        "the state of '" + section.service + "' (" + section.kind + ") is kept: no service of that name is configured");
  }
}

Result<void> Worker::open_ports() {
  std::vector<services::ServiceSocket> sockets;
  for (std::size_t i = 0; i < plan_.sockets.size(); ++i) {
    const PlannedSocket& planned = plan_.sockets[i];
    const net::StreamKind kind = planned.tcp ? net::StreamKind::tcp : net::StreamKind::unix_socket;
    sockets.push_back({planned.service, Fd(planned.fd), kind, planned.backlog, planned.text, planned.datagram,
                       planned.proxied, std::move(keys_[i]), planned.endpoint});
  }
  application_->when_stdio_ends([this] { stop(false); });
  return application_->start(std::move(sockets));
}

int Worker::run() {
  reactor_->run();
  return exit_code_;
}

void Worker::stop(bool force) {
  if (application_ == nullptr || finishing_.active()) return;
  // From a turn of its own: finish() ends connections that may be calling us.
  const auto finish_soon = [this] {
    if (!finishing_.active()) finishing_ = reactor_->call_later(0, [this] { finish(); });
  };
  if (force) {
    application_->abandon_output();
    finish_soon();
    return;
  }
  if (stopping_) return;
  stopping_ = true;
  application_->drain(finish_soon);
  stop_deadline_ = reactor_->call_later(plan_.definition.stop_timeout_ms, [this, finish_soon] {
    log_.write(LogLevel::warning, kWho,
               "unsent answers are dropped: the stop has taken " +
                   services::duration_text(plan_.definition.stop_timeout_ms) + " (stop_timeout)");
    for (const std::string& who : application_->waits_for())
      log_.write(LogLevel::warning, kWho, "not waited for: " + who);
    application_->abandon_output();
    finish_soon();
  });
}

/// The end of every stop: connections away, services ended, journal sealed, state saved.
void Worker::finish() {
  stop_deadline_.cancel();
  if (compaction_ && !finish_after_compaction_) {
    finish_after_compaction_ = true;
    report_({Message::Type::stop_compaction, Fault::internal, "", Fd()});
    return;  // compacted() comes back here
  }
  housekeeping_.wait_idle();
  journal_watch_.cancel();
  application_->abort_connections();
  application_->stop();
  Message message{Message::Type::stopped, Fault::internal, "", Fd()};
  if (plan_.save) {
    const bool sealed = committer_ == nullptr || seal();
    const std::uint64_t last_lsn = committer_ == nullptr ? recovered_.last_lsn : committer_->last_lsn();
    if (Result<void> saved = save_archive(last_lsn); saved) {
      message.text = "generation " + std::to_string(stored_->archive.generation);
      log_.write(LogLevel::info, kWho, "saved " + message.text + " as " + stored_->file);
      if (lock_) lock_->announce({static_cast<int>(::getpid()), true, kOrphanSeconds * 1000, true});
    } else if (sealed && application_->all_journaled()) {
      // Nothing is lost: the next start replays it. Only the copy for people cannot be made.
      log_.write(LogLevel::warning, kWho,
                 saved.error().message + "; the journal has everything, the next start reads it");
    } else {
      exit_code_ = saved.error().exit_code();
      message.type = Message::Type::failed;
      message.fault = saved.error().fault;
      message.text = saved.error().message + "; the store is still at " +
                     (stored_ ? "generation " + std::to_string(stored_->archive.generation) : "its beginning") +
                     ", what is not in the journal and happened since this start is lost";
      log_.write(LogLevel::error, kWho, message.text);
    }
  }
  report_(std::move(message));
  reactor_->stop();
}

bool Worker::seal() {
  Result<void> sealed = committer_->close();
  if (!sealed) log_.write(LogLevel::error, kWho, "sealing the journal: " + sealed.error().message);
  return sealed.ok();
}

void Worker::log_status() {
  log_.write(
      LogLevel::info, kWho,
      "status: application '" + plan_.definition.name + "', durability " + plan_.definition.durability + ", " +
          (stored_ ? "generation " + std::to_string(stored_->archive.generation) : std::string("nothing saved")) +
          (stopping_ ? ", stopping" : ""));
  const net::Reactor::TurnTimes times = reactor_->take_turn_times();
  log_.write(LogLevel::info, kWho,
             "status: the loop's longest turn since the last report took " + std::to_string(times.worst_us) +
                 " us, without waiting for the disk " + std::to_string(times.worst_working_us) + " us");
  if (committer_ != nullptr) log_.write(LogLevel::info, kWho, "status: " + committer_->status());
  if (application_ == nullptr) return;
  for (const std::string& line : application_->status()) log_.write(LogLevel::info, kWho, "status: " + line);
}

void Worker::reload() {
  if (application_ != nullptr && !stopping_) application_->reload();
}

void Worker::announce_stopping() const {
  if (lock_) lock_->announce({static_cast<int>(::getpid()), true, kOrphanSeconds * 1000, false});
}

}  // namespace tap::daemon
