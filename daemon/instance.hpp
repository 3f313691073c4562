// Instance: what one running tapd holds: lock, pidfile, sockets, and the plan its workers get.
//
// The order in which these are taken and given back is the daemon's promise to the next one that starts:
// lock, pidfile, sockets, archive of -f; back: shutdown archive, socket files, pidfile, lock.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/log.hpp"
#include "daemon/options.hpp"
#include "daemon/pidfile.hpp"
#include "daemon/plan.hpp"
#include "daemon/privileges.hpp"
#include "daemon/source.hpp"
#include "services/net/bind.hpp"
#include "state/lock.hpp"
#include "state/store.hpp"

namespace tap::daemon {

class Instance {
 public:
  /// Lifetime: the registry and its plugins outlive it.
  Instance(Options options, Source source, const services::Registry& kinds, services::Plugins& plugins)
      : options_(std::move(options)), source_(std::move(source)), kinds_(kinds), plugins_(plugins) {}

  /// Takes everything. Errors: 69, 73, 77 and those of load_source(); what was taken goes back with the object.
  [[nodiscard]] Result<void> prepare();

  /// For a worker that inherits our descriptors. The channel's is the caller's to fill in.
  [[nodiscard]] WorkerPlan plan() const;

  /// Tells other starters that this one is on its way out.
  void announce_stopping();
  /// A worker serves: from here on only a save makes the end a clean one.
  void mark_serving() { served_ = true; }
  /// Our copies of the listening sockets: with the worker's gone too, ports refuse.
  void close_sockets();
  /// Gives everything back but the lock. `saved`: the store has a new archive, NAME-shutdown.tap is its copy.
  void finish(bool saved);

  /// Opens the log file anew (USR1). Errors: cannot_create; the old one stays in use.
  [[nodiscard]] Result<void> reopen_log();
  /// Reads the sources again and logs what would change (HUP).
  void report_reload();

  [[nodiscard]] Log& log() { return *log_; }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] const state::Definition& definition() const { return source_.definition; }
  /// "listening fib tcp:127.0.0.1:8888", a line each.
  [[nodiscard]] std::string listening() const;
  /// What whoever started us should know, a sentence each; they are in the log too.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  /// Whether a crash makes some service forget: "service 'fib' (durability shutdown): a crash or ..."; empty if not.
  [[nodiscard]] std::string what_a_crash_loses() const;
  /// Whether standard output belongs to a service.
  [[nodiscard]] bool uses_stdio() const;

 private:
  struct Bound {
    std::string service;
    net::BoundEndpoint endpoint;
  };

  [[nodiscard]] Result<void> take_all();
  [[nodiscard]] Result<void> open_log();
  void take_standard_streams() const;
  [[nodiscard]] Result<void> open_store();
  [[nodiscard]] Result<void> settle_archive();
  [[nodiscard]] Result<void> give_store_away() const;
  [[nodiscard]] Result<void> take_pidfile();
  [[nodiscard]] Result<void> bind_all();
  void close_unused_inherited();
  void note(std::string sentence);

  Options options_;
  Source source_;
  const services::Registry& kinds_;
  services::Plugins& plugins_;
  std::optional<Identity> identity_;
  LogPlan log_plan_;
  std::unique_ptr<Log> log_;
  std::string store_path_;
  Fd store_dir_;
  std::optional<state::StoreLock> lock_;
  Pidfile pidfile_;
  std::vector<Bound> bound_;
  std::vector<std::string> notes_;
  bool served_ = false;
};

}  // namespace tap::daemon
