// worker_main(): the process around a Worker: its signals, its privileges, its end with the keeper, and the keeper's orders.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "daemon/compactor.hpp"
#include "daemon/privileges.hpp"
#include "daemon/worker.hpp"

namespace tap::daemon {
namespace {

constexpr char kWho[] = "tapd";

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
    if (message->type == Message::Type::reload) worker.reload();
    if (message->type == Message::Type::compacted) worker.compacted(message->text);
    if (message->type == Message::Type::reopen_log && message->fd.open()) reopen(log, std::move(message->fd));
  }
  if (!closed) return true;
  log.write(LogLevel::error, kWho, "the keeper is gone: saving and ending");
  worker.compacted("");  // its helper process has gone with it
  worker.announce_stopping();
  worker.stop(true);
  return false;
}

}  // namespace

int worker_main(int plan_fd, services::Registry& kinds) {
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
  Result<void> ready = load_planned_plugins(*plan, kinds);
  Result<TlsKeysOfSockets> keys = load_keys(*plan);
  if (ready && !keys) ready = keys.error();
  if (ready) ready = drop_privileges(identity, plan->chroot);
  if (ready) ready = follow_keeper(plan->keeper_pid);
  if (!ready) {
    channel.send({Message::Type::failed, ready.error().fault, ready.error().message, Fd()});
    return ready.error().exit_code();
  }
  Worker worker(std::move(plan).value(), std::move(keys).value(), kinds, log,
                [&channel](Message message) { channel.send(std::move(message)); });
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
