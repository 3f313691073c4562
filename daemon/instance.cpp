#include "daemon/instance.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "services/net/endpoint.hpp"
#include "state/files.hpp"

namespace tap::daemon {
namespace {

constexpr char kWho[] = "tapd";

std::string describe(const state::StoredArchive& stored) {
  return stored.file + " (lineage " + stored.archive.lineage.text() + ", generation " +
         std::to_string(stored.archive.generation) + ")";
}

}  // namespace

Result<void> Instance::prepare() {
  Result<std::optional<Identity>> identity = find_identity(options_.uid, options_.gid);
  if (!identity) return std::move(identity).error();
  identity_ = *identity;
  if (Result<void> opened = open_log(); !opened) return opened;
  if (Result<void> opened = open_store(); !opened) return opened;
  if (lock_) {
    if (Result<void> settled = settle_archive(); !settled) return settled;
    if (Result<void> given = give_store_away(); !given) return given;
  }
  if (Result<void> taken = take_pidfile(); !taken) return taken;
  if (Result<void> bound = bind_all(); !bound) {
    pidfile_.remove();
    return bound;
  }
  return {};
}

void Instance::note(std::string sentence) {
  log_->write(LogLevel::warning, kWho, sentence);
  notes_.push_back(std::move(sentence));
}

Result<void> Instance::open_log() {
  log_plan_.level = options_.log_level;
  log_plan_.syslog_ident = options_.syslog_prefix;
  if (options_.syslog) {
    log_plan_.target = LogPlan::Target::syslog;
  } else if (!options_.logfile.empty() && options_.logfile != "-") {
    log_plan_.target = LogPlan::Target::file;
    log_plan_.path = options_.logfile;
  } else if (!options_.nodaemon) {
    log_plan_.target = LogPlan::Target::file;
    log_plan_.path = (std::filesystem::path(options_.rundir) / "tapd.log").string();
  } else {
    log_plan_.target = stderr_is_journal() ? LogPlan::Target::journal : LogPlan::Target::standard_error;
  }
  Result<Fd> fd = Log::open_file(log_plan_);
  if (!fd) return std::move(fd).error();
  log_ = std::make_unique<Log>(log_plan_, std::move(fd).value());
  take_standard_streams();
  return {};
}

/// What a daemon's libraries or a failed assertion print belongs into its log.
void Instance::take_standard_streams() const {
  if (options_.nodaemon || log_->fd() < 0) return;
  ::dup2(log_->fd(), STDOUT_FILENO);
  ::dup2(log_->fd(), STDERR_FILENO);
}

/// The store's directory and its lock. With --no-save a store that is there is read, one that is not is not made.
Result<void> Instance::open_store() {
  store_path_ = store_path(options_, source_.definition.name);
  Result<Fd> directory =
      options_.no_save ? state::open_directory(AT_FDCWD, store_path_) : state::make_directory(AT_FDCWD, store_path_);
  if (!directory) {
    if (options_.no_save && ::access(store_path_.c_str(), F_OK) != 0) return {};
    return std::move(directory.error()).with("the state directory");
  }
  store_dir_ = std::move(directory).value();
  Result<state::StoreLock> lock = state::StoreLock::acquire(store_dir_.get(), store_path_);
  if (!lock) return std::move(lock).error();
  lock_.emplace(std::move(lock).value());
  lock_->announce({static_cast<int>(::getpid()), false, source_.definition.stop_timeout_ms});

  // While we waited for the lock its holder may have written a newer NAME-shutdown.tap.
  const std::string name = source_.definition.name;
  Result<Source> again = load_source(options_, kinds_);
  if (!again) return std::move(again).error();
  if (again->definition.name != name) {
    return Error{Fault::temporary, "the application's name changed from '" + name + "' to '" + again->definition.name +
                                       "' while tapd was starting; start it again"};
  }
  source_ = std::move(again).value();
  return {};
}

/// The table of DESIGN, "Command line": how the archive of -f stands to what the store has.
Result<void> Instance::settle_archive() {
  if (!source_.archive) return {};
  const state::StoredArchive& given = *source_.archive;
  state::Store store{Fd(::fcntl(store_dir_.get(), F_DUPFD_CLOEXEC, 3))};
  if (options_.rewind) {
    Result<state::StoredArchive> child = store.rewind(given.archive, given.digest);
    if (!child) return std::move(child).error();
    for (const std::string& sentence : store.take_report()) log_->write(LogLevel::warning, kWho, sentence);
    note("went back to " + describe(given) + "; it goes on as generation " + std::to_string(child->archive.generation) +
         " of the new lineage " + child->archive.lineage.text() + "; what the store had is in " + store_path_ +
         "/quarantine");
    return {};
  }
  Result<std::optional<state::StoredArchive>> present = store.load();
  if (!present) return std::move(present.error()).with("the store " + store_path_);
  for (const std::string& sentence : store.take_report()) note(sentence);
  switch (state::Store::relation(*present, given.archive, given.digest)) {
    case state::Relation::store_is_empty: {
      if (options_.no_save) return {};
      Result<state::StoredArchive> adopted = store.adopt(source_.archive_bytes);
      if (!adopted) return std::move(adopted).error();
      log_->write(LogLevel::info, kWho, "took " + describe(given) + " into the empty store " + store_path_);
      return {};
    }
    case state::Relation::present:
      return {};
    case state::Relation::ancestor:
      note("resuming from the store " + store_path_ + ", which is at generation " +
           std::to_string((*present)->archive.generation) + "; " + given.file + " is its older generation " +
           std::to_string(given.archive.generation) + " (--rewind would go back to it)");
      return {};
    case state::Relation::unrelated:
      break;
  }
  return Error{Fault::cannot_create, describe(given) + " does not continue what the store " + store_path_ + " holds: " +
                                         describe(**present) + "\nto go on from the store:     tapd -f " + store_path_ +
                                         "/" + (*present)->file + "\nto go back to the archive:   tapd --rewind -f " +
                                         given.file + "   (what the store has is moved aside, not deleted)"};
}

/// Files that the keeper made must be the worker's to read and replace.
Result<void> Instance::give_store_away() const {
  if (!identity_ || ::geteuid() != 0) return {};
  const auto give = [this](int directory, const std::string& name) {
    return ::fchownat(directory, name.c_str(), identity_->uid, identity_->gid, AT_SYMLINK_NOFOLLOW) == 0;
  };
  Result<std::vector<std::string>> names = state::list_directory(store_dir_.get());
  if (!names) return std::move(names).error();
  bool given = ::fchown(store_dir_.get(), identity_->uid, identity_->gid) == 0;
  for (const std::string& name : *names) given = give(store_dir_.get(), name) && given;
  if (!given) return errno_error(Fault::permission, "giving " + store_path_ + " to the services' user");
  return {};
}

Result<void> Instance::take_pidfile() {
  if (options_.pidfile.empty()) return {};
  std::string stale;
  Result<Pidfile> pidfile = Pidfile::take(options_.pidfile, stale);
  if (!pidfile) return std::move(pidfile).error();
  pidfile_ = std::move(pidfile).value();
  if (!stale.empty()) note(std::move(stale));
  return {};
}

Result<void> Instance::bind_all() {
  std::optional<net::SocketOwner> owner;
  if (identity_) owner = net::SocketOwner{identity_->uid, identity_->gid};
  for (const state::ServiceDefinition& service : source_.definition.services) {
    for (const std::string& text : service.listen) {
      Result<net::Endpoint> endpoint = net::parse_endpoint(text);
      if (!endpoint) return std::move(endpoint.error()).with("service '" + service.name + "'");
      if (endpoint->type == net::Endpoint::Type::stdio && !options_.nodaemon) {
        return Error{Fault::config, "service '" + service.name + "' uses stdio:, which a daemon has not; give -n"};
      }
      if (!endpoint->path.empty()) endpoint->path = std::filesystem::path(options_.start_dir) / endpoint->path;
      Result<net::BoundEndpoint> bound = net::bind_endpoint(*endpoint, owner);
      if (!bound) {
        for (const Bound& earlier : bound_) net::unlink_endpoint(earlier.endpoint);
        return std::move(bound.error()).with("service '" + service.name + "'");
      }
      bound_.push_back({service.name, std::move(bound).value()});
    }
  }
  return {};
}

WorkerPlan Instance::plan() const {
  WorkerPlan plan;
  plan.definition = source_.definition;
  for (const Bound& bound : bound_) {
    PlannedSocket socket;
    socket.service = bound.service;
    socket.text = bound.endpoint.text;
    socket.fd = bound.endpoint.fd.get();
    socket.tcp = bound.endpoint.text.compare(0, 4, "unix") != 0;
    socket.backlog = bound.endpoint.endpoint.backlog;
    plan.sockets.push_back(std::move(socket));
  }
  plan.store_fd = store_dir_.get();
  plan.lock_fd = lock_ ? lock_->fd() : -1;
  plan.log_fd = log_->fd();
  plan.save = !options_.no_save;
  if (options_.no_save && !options_.file.empty()) plan.archive = source_.archive_bytes;
  plan.change_identity = identity_.has_value();
  plan.uid = identity_ ? identity_->uid : 0;
  plan.gid = identity_ ? identity_->gid : 0;
  plan.chroot = options_.chroot;
  plan.log_target = static_cast<std::uint8_t>(log_plan_.target);
  plan.syslog_ident = log_plan_.syslog_ident;
  plan.log_level = log_plan_.level;
  return plan;
}

void Instance::announce_stopping() {
  if (lock_) lock_->announce({static_cast<int>(::getpid()), true, source_.definition.stop_timeout_ms});
}

void Instance::close_sockets() {
  for (Bound& bound : bound_) bound.endpoint.fd.reset();
}

void Instance::finish(bool saved) {
  if (saved) {
    const std::string name = source_.definition.name + "-shutdown.tap";
    const std::string directory = shutdown_directory(options_);
    const state::Store store{Fd(::fcntl(store_dir_.get(), F_DUPFD_CLOEXEC, 3))};
    Result<Fd> to = state::open_directory(AT_FDCWD, directory);
    const Result<void> copied = to ? store.copy_newest(to->get(), name) : Result<void>(std::move(to).error());
    if (copied) {
      log_->write(LogLevel::info, kWho, "saved " + directory + "/" + name);
    } else {
      log_->write(LogLevel::warning, kWho,
                  "could not write the copy " + directory + "/" + name + " (" + copied.error().message +
                      "); the store has everything");
    }
  }
  for (const Bound& bound : bound_) net::unlink_endpoint(bound.endpoint);
  pidfile_.remove();
}

Result<void> Instance::reopen_log() {
  Result<Fd> fd = Log::open_file(log_plan_);
  if (!fd) return std::move(fd).error();
  log_->exchange(std::move(fd).value());
  take_standard_streams();
  return {};
}

void Instance::report_reload() {
  if (options_.config.empty()) {
    log_->write(LogLevel::info, kWho, "SIGHUP: there is no config to read again");
    return;
  }
  Result<Source> wanted = load_source(options_, kinds_);
  if (!wanted) {
    log_->write(LogLevel::error, kWho, "SIGHUP: the config is refused, nothing changes: " + wanted.error().message);
    return;
  }
  const std::vector<std::string> sentences = differences(source_.definition, wanted->definition);
  log_->write(LogLevel::info, kWho,
              "SIGHUP: the config is valid and would change " +
                  (sentences.empty() ? std::string("nothing") : std::to_string(sentences.size()) + " things") +
                  (sentences.empty() ? "" : "; this version applies them at the next start"));
  for (const std::string& sentence : sentences) log_->write(LogLevel::info, kWho, "SIGHUP: " + sentence);
}

std::string Instance::listening() const {
  std::string lines;
  for (const Bound& bound : bound_) lines += "listening " + bound.service + " " + bound.endpoint.text + "\n";
  return lines;
}

bool Instance::has_state() const {
  const std::vector<state::ServiceDefinition>& defined = source_.definition.services;
  return !options_.no_save && std::any_of(defined.begin(), defined.end(), [this](const auto& service) {
    const services::Kind* kind = kinds_.find(service.kind);
    return kind != nullptr && kind->state != nullptr;
  });
}

bool Instance::uses_stdio() const {
  return std::any_of(bound_.begin(), bound_.end(),
                     [](const Bound& bound) { return bound.endpoint.endpoint.type == net::Endpoint::Type::stdio; });
}

}  // namespace tap::daemon
