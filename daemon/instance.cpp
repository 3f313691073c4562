#include "daemon/instance.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "daemon/signals.hpp"
#include "services/durability.hpp"
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
  Result<void> prepared = take_all();
  if (!prepared) finish(false);
  plugins_.freeze();
  return prepared;
}

Result<void> Instance::take_all() {
  Result<std::optional<Identity>> identity = find_identity(options_.uid, options_.gid);
  if (!identity) return std::move(identity).error();
  identity_ = *identity;
  if (Result<void> opened = open_log(); !opened) return opened;
  if (Result<void> opened = open_store(); !opened) return opened;
  if (Result<void> taken = take_pidfile(); !taken) return taken;
  // The archive last: whatever else can fail has not failed, so the store changes only for a start that goes on.
  Result<void> ready = bind_all();
  if (ready && lock_) ready = settle_archive();
  if (ready && lock_) ready = give_store_away();
  return ready;
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
  if (const std::string loses = what_a_crash_loses(); !lock_->was_clean() && !loses.empty()) {
    note("the last run did not end cleanly; " + loses + ", numbers given since then may be given again");
  }
  lock_->announce({static_cast<int>(::getpid()), false, source_.definition.stop_timeout_ms, false});

  // While we waited for the lock its holder may have written a newer NAME-shutdown.tap.
  const std::string name = source_.definition.name;
  Result<Source> again = load_source(options_, kinds_, &plugins_);
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
  Result<std::optional<state::StoredArchive>> present = store.load(options_.no_save);
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
  const std::string place = options_.state_dir.empty() ? "" : " --state-dir " + options_.state_dir;
  const std::string config = options_.config.empty() ? "" : " -c " + options_.config_given;
  const std::string go_on = config.empty() ? " -f " + store_path_ + "/" + (*present)->file : config;
  return Error{Fault::cannot_create, describe(given) + " does not continue what the store " + store_path_ + " holds: " +
                                         describe(**present) + "\nto go on from the store:     tapd" + place + go_on +
                                         "\nto go back to the archive:   tapd" + place + config + " --rewind -f " +
                                         given.file + "   (what the store has is moved aside, not deleted)"};
}

/// Files that the keeper made must be the worker's to read and replace.
Result<void> Instance::give_store_away() const {
  if (!identity_ || ::geteuid() != 0) return {};
  Result<std::vector<std::string>> names = state::list_directory(store_dir_.get());
  if (!names) return std::move(names).error();
  bool given = ::fchown(store_dir_.get(), identity_->uid, identity_->gid) == 0;
  for (const std::string& name : *names) {
    if (!state::Store::owns(name)) continue;
    // Through a descriptor that follows no link, and only a file with this one name: the directory may be the
    // services' user's already, and that user must not get anything else this way.
    const Fd file(::openat(store_dir_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat found {};
    if (!file.open() || ::fstat(file.get(), &found) != 0) continue;
    if (!S_ISDIR(found.st_mode) && (!S_ISREG(found.st_mode) || found.st_nlink != 1)) continue;
    given = ::fchown(file.get(), identity_->uid, identity_->gid) == 0 && given;
  }
  if (!given) return errno_error(Fault::permission, "giving " + store_path_ + " to the services' user");
  return {};
}

Result<void> Instance::take_pidfile() {
  block_signals({SIGTERM, SIGINT});  // from here on a stop must give back what was taken; it waits to be read
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
      if (!endpoint->path.empty()) endpoint->path = std::filesystem::path(options_.start_dir) / endpoint->path;
      if (endpoint->tls) endpoint->tls->resolve(options_.start_dir);
      Result<net::BoundEndpoint> bound = net::bind_endpoint(*endpoint, owner, options_.inherited);
      if (!bound) {
        return std::move(bound.error()).with("service '" + service.name + "'");
      }
      bound_.push_back({service.name, std::move(bound).value()});
    }
  }
  close_unused_inherited();
  return {};
}

/// What systemd has handed over and no endpoint names must not go on accepting connections that nobody answers.
void Instance::close_unused_inherited() {
  for (const int fd : options_.inherited.descriptors()) {
    const bool used = std::any_of(bound_.begin(), bound_.end(),
                                  [fd](const Bound& bound) { return bound.endpoint.endpoint.fd == fd; });
    if (used) continue;
    note("the socket '" + options_.inherited.name(fd) +
         "' that systemd has handed over is closed: no service listens on it");
    ::close(fd);
  }
}

WorkerPlan Instance::plan() const {
  WorkerPlan plan;
  plan.definition = source_.definition;
  for (const Bound& bound : bound_) {
    PlannedSocket socket;
    socket.service = bound.service;
    socket.text = bound.endpoint.text;
    socket.endpoint = bound.endpoint.endpoint.text;
    socket.fd = bound.endpoint.fd.get();
    socket.tcp = !bound.endpoint.is_local();
    const net::Endpoint& endpoint = bound.endpoint.endpoint;
    socket.backlog = endpoint.backlog;
    socket.proxied = endpoint.proxied;
    socket.encrypted = endpoint.tls.has_value();
    if (endpoint.tls) socket.tls = *endpoint.tls;
    socket.datagram = endpoint.is_datagram();
    plan.sockets.push_back(std::move(socket));
  }
  for (const services::KeptPlugin& plugin : plugins_.kept()) plan.plugins.push_back({plugin.path, plugin.fd});
  plan.store_fd = store_dir_.get();
  plan.lock_fd = lock_ ? lock_->fd() : -1;
  plan.log_fd = log_->fd();
  plan.save = !options_.no_save;
  if (options_.no_save && !options_.file.empty()) plan.archive = source_.archive_bytes;
  plan.change_identity = identity_.has_value();
  plan.uid = identity_ ? identity_->uid : 0;
  plan.gid = identity_ ? identity_->gid : 0;
  plan.chroot = options_.chroot;
  plan.start_dir = options_.start_dir;
  plan.log_target = static_cast<std::uint8_t>(log_plan_.target);
  plan.syslog_ident = log_plan_.syslog_ident;
  plan.log_level = log_plan_.level;
  return plan;
}

void Instance::announce_stopping() {
  if (lock_) lock_->announce({static_cast<int>(::getpid()), true, source_.definition.stop_timeout_ms, false});
}

void Instance::close_sockets() {
  for (Bound& bound : bound_) {
    bound.endpoint.fd.reset();
    if (bound.endpoint.endpoint.fd >= 0) ::close(bound.endpoint.endpoint.fd);  // the one that was inherited
    bound.endpoint.endpoint.fd = -1;
  }
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
  // A start that came to nothing leaves the last run's end as it was.
  const bool nothing_new = !served_ || options_.no_save;
  const bool clean = saved || (nothing_new && lock_ && lock_->was_clean());
  if (lock_) lock_->announce({static_cast<int>(::getpid()), true, source_.definition.stop_timeout_ms, clean});
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
  Result<state::Definition> wanted = reload_definition(options_, kinds_, &plugins_);
  if (!wanted) {
    log_->write(LogLevel::error, kWho, "SIGHUP: the config is refused, nothing changes: " + wanted.error().message);
    return;
  }
  const std::vector<std::string> sentences = differences(source_.definition, *wanted);
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

std::string Instance::what_a_crash_loses() const {
  if (options_.no_save) return "";
  for (const state::ServiceDefinition& service : source_.definition.services) {
    const services::Kind* kind = kinds_.find(service.kind);
    if (kind == nullptr || kind->state == nullptr) continue;
    const services::Durability durability = services::durability_of(source_.definition, service);
    if (durability.gated()) continue;
    return "service '" + service.name + "' (durability " + services::durability_text(source_.definition, service) +
           "): " + durability.loss();
  }
  return "";
}

bool Instance::uses_stdio() const {
  return std::any_of(bound_.begin(), bound_.end(),
                     [](const Bound& bound) { return bound.endpoint.endpoint.type == net::Endpoint::Type::stdio; });
}

}  // namespace tap::daemon
