#include "daemon/worker.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "daemon/privileges.hpp"
#include "services/units.hpp"

namespace tap::daemon {
namespace {

constexpr char kWho[] = "tapd";
/// How long a worker may take to save after its keeper has died, before the kernel ends it.
constexpr unsigned kOrphanSeconds = 5;

/// A service may use every descriptor the system grants; the low default is for select(2).
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Worker::Worker(WorkerPlan plan, const services::Registry& kinds, Log& log, std::function<void(Message)> report)
    : plan_(std::move(plan)),
      kinds_(kinds),
      log_(log),
      report_(std::move(report)),
      reactor_(std::make_unique<net::Reactor>(log)) {
  if (plan_.lock_fd >= 0) lock_.emplace(state::StoreLock::inherited(Fd(plan_.lock_fd)));
  if (plan_.store_fd >= 0) store_.emplace(Fd(plan_.store_fd));
}

Worker::~Worker() {
  application_.reset();
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
    for (const std::string& sentence : store_->take_report()) log_.write(LogLevel::warning, kWho, sentence);
    stored_ = std::move(loaded).value();
  }
  if (!stored_ && !plan_.archive.empty()) {
    Result<state::Archive> archive = state::decode_archive(plan_.archive);
    if (!archive) return std::move(archive).error();
    stored_ = state::StoredArchive{std::move(archive).value(), state::archive_digest(plan_.archive), "-f"};
  }
  return {};
}

Result<void> Worker::recover() {
  if (Result<void> loaded = load(); !loaded) return loaded;
  Result<std::unique_ptr<services::Application>> made =
      services::Application::create(plan_.definition, kinds_, *reactor_);
  if (!made) return std::move(made).error();
  application_ = std::move(made).value();
  if (stored_) {
    if (Result<void> restored = application_->restore(stored_->archive); !restored) return restored;
    say_resumed();
    return {};
  }
  if (!plan_.save) return {};
  // The first archive is written before the first client comes: it carries the lineage, and it finds out now, not at
  // the stop, whether the directory can be written.
  Result<state::Archive> first = application_->collect(std::nullopt);
  if (!first) return std::move(first).error();
  Result<state::StoredArchive> saved = store_->save(*first);
  if (!saved) return std::move(saved).error();
  stored_ = std::move(saved).value();
  log_.write(LogLevel::info, kWho, "a new store: lineage " + stored_->archive.lineage.text());
  return {};
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
  for (const PlannedSocket& planned : plan_.sockets) {
    const net::StreamKind kind = planned.tcp ? net::StreamKind::tcp : net::StreamKind::unix_socket;
    sockets.push_back({planned.service, Fd(planned.fd), kind, planned.backlog, planned.text});
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
               "unsent answers are dropped: their clients have not read for " +
                   services::duration_text(plan_.definition.stop_timeout_ms) + " (stop_timeout)");
    application_->abandon_output();
    finish_soon();
  });
}

/// The end of every stop: connections away, services ended, state saved.
void Worker::finish() {
  stop_deadline_.cancel();
  application_->abort_connections();
  application_->stop();
  Message message{Message::Type::stopped, Fault::internal, "", Fd()};
  if (plan_.save) {
    Result<state::Archive> archive = application_->collect(stored_);
    Result<state::StoredArchive> saved =
        archive ? store_->save(*archive) : Result<state::StoredArchive>(std::move(archive).error());
    if (saved) {
      message.text = "generation " + std::to_string(saved->archive.generation);
      log_.write(LogLevel::info, kWho, "saved " + message.text + " as " + saved->file);
      if (lock_) lock_->announce({static_cast<int>(::getpid()), true, kOrphanSeconds * 1000, true});
      for (const std::string& sentence : store_->take_report()) log_.write(LogLevel::warning, kWho, sentence);
    } else {
      exit_code_ = saved.error().exit_code();
      message.type = Message::Type::failed;
      message.fault = saved.error().fault;
      message.text = saved.error().message + "; the store is still at " +
                     (stored_ ? "generation " + std::to_string(stored_->archive.generation) : "its beginning") +
                     ", what happened since this start is lost";
      log_.write(LogLevel::error, kWho, message.text);
    }
  }
  report_(std::move(message));
  reactor_->stop();
}

void Worker::log_status() {
  log_.write(
      LogLevel::info, kWho,
      "status: application '" + plan_.definition.name + "', durability " + plan_.definition.durability + ", " +
          (stored_ ? "generation " + std::to_string(stored_->archive.generation) : std::string("nothing saved")) +
          (stopping_ ? ", stopping" : ""));
  if (application_ == nullptr) return;
  for (const std::string& line : application_->status()) log_.write(LogLevel::info, kWho, "status: " + line);
}

void Worker::announce_stopping() const {
  if (lock_) lock_->announce({static_cast<int>(::getpid()), true, kOrphanSeconds * 1000, false});
}

// --- the worker process -----------------------------------------------------------------------------------------

namespace {

void set_signals() {
  // Ctrl-C and systemd signal the whole group; the keeper alone decides. The mask was kept full across exec until here.
  for (const int ignored : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ})
    ::signal(ignored, SIG_IGN);
  struct sigaction orphaned {};
  orphaned.sa_handler = [](int) { ::alarm(kOrphanSeconds); };
  ::sigaction(SIGRTMIN, &orphaned, nullptr);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void set_close_on_exec(const WorkerPlan& plan) {
  for (const int fd : plan.descriptors()) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/// Dies with the keeper: the socket's end lets it save first, this signal's alarm ends one that hangs.
Result<void> follow_keeper(int keeper_pid) {
  if (::prctl(PR_SET_PDEATHSIG, SIGRTMIN) != 0) return errno_error(Fault::internal, "PR_SET_PDEATHSIG");
  if (::getppid() != keeper_pid) return Error{Fault::internal, "the keeper is gone"};
  return {};
}

/// Goes on in another log file; standard streams that led to the old one follow.
void reopen(Log& log, Fd fd) {
  struct stat before {};
  const bool known = ::fstat(log.fd(), &before) == 0;
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat found {};
    const bool ours =
        known && ::fstat(stream, &found) == 0 && found.st_dev == before.st_dev && found.st_ino == before.st_ino;
    if (ours) ::dup2(fd.get(), stream);
  }
  log.exchange(std::move(fd));
}

/// Follows the keeper's orders. False when there is no keeper any more.
bool obey(Worker& worker, const Channel& channel, Log& log) {
  bool closed = false;
  while (std::optional<Message> message = channel.receive(closed)) {
    if (message->type == Message::Type::stop) worker.stop(false);
    if (message->type == Message::Type::force) worker.stop(true);
    if (message->type == Message::Type::report_status) worker.log_status();
    if (message->type == Message::Type::reopen_log && message->fd.open()) reopen(log, std::move(message->fd));
  }
  if (!closed) return true;
  log.write(LogLevel::error, kWho, "the keeper is gone: saving and ending");
  worker.announce_stopping();
  worker.stop(true);
  return false;
}

}  // namespace

int worker_main(int plan_fd, const services::Registry& kinds) {
  set_signals();
  ::prctl(PR_SET_NAME, "tapd-worker");
  Result<WorkerPlan> plan = read_plan(plan_fd);
  ::close(plan_fd);
  if (!plan) {
    ::dprintf(STDERR_FILENO, "tapd: %s\n", plan.error().message.c_str());
    return plan.error().exit_code();
  }
  set_close_on_exec(*plan);
  const Channel channel{Fd(plan->channel_fd)};
  Log log(plan->log(), Fd(plan->log_fd));
  std::optional<Identity> identity;
  if (plan->change_identity) identity = Identity{plan->uid, plan->gid};
  Result<void> ready = drop_privileges(identity, plan->chroot);
  if (ready) ready = follow_keeper(plan->keeper_pid);
  if (!ready) {
    channel.send({Message::Type::failed, ready.error().fault, ready.error().message, Fd()});
    return ready.error().exit_code();
  }
  Worker worker(std::move(plan).value(), kinds, log, [&channel](Message message) { channel.send(std::move(message)); });
  if (Result<void> started = worker.start(); !started) return started.error().exit_code();
  // After the start: whoever stops the keeper meanwhile is heard now.
  bool gone = false;
  std::optional<net::Watch> orders;
  orders.emplace(worker.reactor(), channel.fd(), [&] {
    if (gone) return;
    gone = !obey(worker, channel, log);
    if (gone) worker.reactor().post([&orders] { orders.reset(); });
  });
  return worker.run();
}

}  // namespace tap::daemon
