// Worker: the process part that runs the reactor and the services.
//
// Under a keeper it is a process of its own (worker_main); with --no-keeper it runs in the only process there is.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "daemon/channel.hpp"
#include "daemon/log.hpp"
#include "daemon/plan.hpp"
#include "services/application.hpp"
#include "services/compaction.hpp"
#include "services/net/reactor.hpp"
#include "services/net/watch.hpp"
#include "state/lock.hpp"
#include "state/store.hpp"

namespace tap::daemon {

/// How long a worker may take to save after its keeper has died, before the kernel ends it.
inline constexpr unsigned kOrphanSeconds = 5;

/// One for each socket of a plan; nullptr where it has no TLS.
using TlsKeysOfSockets = std::vector<std::unique_ptr<net::TlsServer>>;

/// Reads keys and certificates; before privileges are dropped, because keys are usually root's alone.
/// Errors: unavailable: they were right when the keeper checked them, and may be again.
[[nodiscard]] Result<TlsKeysOfSockets> load_keys(const WorkerPlan& plan);

/// Thread: the loop's. Lifetime: the registry and the log outlive it. Owns every descriptor in its plan but the log's.
class Worker {
 public:
  /// `keys`: of the plan's sockets, from load_keys(). `report` hears Message::Type ready, failed and stopped, from
  /// inside start() and run().
  Worker(WorkerPlan plan, TlsKeysOfSockets keys, const services::Registry& kinds, Log& log,
         std::function<void(Message)> report);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  /// Recovers the state and opens the ports. Errors: 65, 69, 70, 78; reported too.
  [[nodiscard]] Result<void> start();
  /// Serves until stop() has run its course. The exit code.
  [[nodiscard]] int run();

  /// Accepts no more, answers, flushes, saves, ends. `force`: without waiting for what is unsent. May be repeated.
  void stop(bool force);
  void log_status();
  /// Has the services read their files again (HUP).
  void reload();
  /// What came of the compaction that was asked for with Message::Type::compact.
  void compacted(const std::string& result);
  /// Tells other starters, through LOCK, that this store will be free soon; for a worker whose keeper is gone.
  void announce_stopping() const;

  [[nodiscard]] net::Reactor& reactor() { return *reactor_; }

 private:
  [[nodiscard]] Result<void> recover();
  [[nodiscard]] Result<void> load();
  [[nodiscard]] Result<void> replay();
  [[nodiscard]] Result<void> start_journal();
  [[nodiscard]] Result<void> save_archive(std::uint64_t base_lsn);
  void forget_payloads();
  void say_report();
  void journal_broken(const Error& error);
  void watch_journal();
  [[nodiscard]] bool compaction_due();
  void begin_compaction();
  [[nodiscard]] bool adopt_compacted(const services::CompactionOrder& order, const std::string& digest,
                                     std::uint64_t file_bytes);
  void tidy(std::uint64_t generation);
  [[nodiscard]] Result<void> open_ports();
  void finish();
  [[nodiscard]] bool seal();
  void say_resumed() const;

  WorkerPlan plan_;
  TlsKeysOfSockets keys_;
  const services::Registry& kinds_;
  Log& log_;
  std::function<void(Message)> report_;
  std::unique_ptr<net::Reactor> reactor_;
  std::optional<state::StoreLock> lock_;
  std::optional<state::Store> store_;
  std::optional<state::StoredArchive> stored_;
  state::JournalEnd recovered_;
  std::uint64_t epoch_ = 1;
  std::optional<state::SegmentSupply> supply_;
  std::unique_ptr<services::Committer> committer_;
  std::optional<services::CompactionOrder> compaction_;  ///< under way
  bool finish_after_compaction_ = false;
  std::uint64_t older_base_lsn_ = 0;  ///< of the archive before the newest one; 0 when it is not known
  std::uint64_t full_look_ms_ = 0;    ///< when a compaction is worth trying on a full disk
  std::uint64_t full_wait_ms_ = 0;
  net::Timer journal_watch_;
  services::WorkThread housekeeping_{services::WorkThread::Urgency::later};
  std::unique_ptr<services::Application> application_;
  net::Timer stop_deadline_;
  net::Timer finishing_;
  bool stopping_ = false;
  int exit_code_ = 0;
};

/// The worker process: plan from `plan_fd`, orders from the keeper. The exit code.
[[nodiscard]] int worker_main(int plan_fd, services::Registry& kinds);

}  // namespace tap::daemon
