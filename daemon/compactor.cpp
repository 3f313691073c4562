#include "daemon/compactor.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <sstream>
#include <vector>

#include "daemon/privileges.hpp"
#include "state/files.hpp"

namespace tap::daemon {
namespace {

constexpr char kWho[] = "compaction";
constexpr int kNice = 10;
/// ioprio_set(2), which has no wrapper: this process, class best effort, the lowest level.
constexpr int kIoprioWhoProcess = 1;
constexpr int kIoprioLowest = (2 << 13) | 7;

void step_back() {
  (void)::setpriority(PRIO_PROCESS, 0, kNice);
  (void)::syscall(SYS_ioprio_set, kIoprioWhoProcess, 0, kIoprioLowest);
}

CompactionResult failure(const Error& error) { return {false, 0, "", error.message}; }

CompactionResult run(const WorkerPlan& plan, const std::string& order_text, services::Registry& kinds, Log& log) {
  Result<services::CompactionOrder> order = services::CompactionOrder::parse(order_text);
  if (!order) return failure(order.error());
  if (Result<void> loaded = load_planned_plugins(plan, kinds); !loaded) return failure(loaded.error());
  std::optional<Identity> identity;
  if (plan.change_identity) identity = Identity{plan.uid, plan.gid};
  if (Result<void> dropped = drop_privileges(identity, plan.chroot); !dropped) return failure(dropped.error());
  state::Store store{Fd(plan.store_fd)};
  Result<state::StoredArchive> made = services::compact(store, plan.definition, kinds, *order, log);
  if (!made) return failure(made.error());
  return {true, made->file_bytes, made->digest.text(), ""};
}

/// Starts this program again with these descriptors. posix_spawn, which copies no memory: with --no-keeper we are the
/// worker, whose memory may be large.
Result<pid_t> spawn_myself(const std::vector<int>& inherited, char* const* words) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  for (const int fd : inherited) {
    // Onto itself: that takes close-on-exec off, in the child only (posix_spawn_file_actions_adddup2(3)).
    if (fd >= 0) ::posix_spawn_file_actions_adddup2(&actions, fd, fd);
  }
  pid_t child = -1;
  const int failed = ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, words, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return errno_error(Fault::temporary, "starting a compaction", failed);
  return child;
}

}  // namespace

std::string CompactionResult::text() const {
  return done ? "done " + std::to_string(file_bytes) + " " + digest : "failed " + why;
}

CompactionResult CompactionResult::parse(const std::string& text) {
  CompactionResult result;
  std::istringstream stream(text);
  std::string word;
  stream >> word;
  result.done = word == "done" && stream >> result.file_bytes >> result.digest;
  if (!result.done) {
    result.why = word == "failed" && text.size() > 7 ? text.substr(7) : "the helper process ended without a word";
  }
  return result;
}

Result<void> Compactor::start(const WorkerPlan& plan, const services::CompactionOrder& order) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error(Fault::internal, "making a pipe");
  Fd read_end(ends[0]);
  const Fd write_end(ends[1]);
  Result<Fd> plan_file = write_plan(plan);
  if (!plan_file) return std::move(plan_file).error();
  const std::string plan_number = std::to_string(plan_file->get());
  const std::string result_number = std::to_string(write_end.get());
  const std::string order_text = order.text();
  const std::array<const char*, 6> words{
      "tapd", "--compact", plan_number.c_str(), result_number.c_str(), order_text.c_str(), nullptr};
  // It inherits the lock too: as long as it may write, no other tapd has this store.
  std::vector<int> inherited{plan.store_fd, plan.lock_fd, plan.log_fd, plan_file->get(), write_end.get()};
  for (const PlannedPlugin& plugin : plan.plugins) inherited.push_back(plugin.fd);
  Result<pid_t> child = spawn_myself(inherited, const_cast<char* const*>(words.data()));
  if (!child) return std::move(child).error();
  pid_ = *child;
  result_ = std::move(read_end);
  return {};
}

CompactionResult Compactor::finish() {
  std::string text;
  char piece[1024];
  for (;;) {
    const ssize_t got = ::read(result_.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(piece, static_cast<std::size_t>(got));
  }
  result_.reset();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;  // or somebody has reaped it already
  pid_ = -1;
  return CompactionResult::parse(text);
}

void Compactor::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  (void)finish();
}

int compactor_main(int plan_fd, int result_fd, const std::string& order, services::Registry& kinds) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NAME, "tapd-compact");
  for (const int ignored : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) ::signal(ignored, SIG_IGN);
  step_back();
  const Fd result(result_fd);
  ::fcntl(result_fd, F_SETFD, FD_CLOEXEC);
  Result<WorkerPlan> plan = read_plan(plan_fd);
  ::close(plan_fd);
  CompactionResult outcome;
  if (plan) {
    Log log(plan->log(), Fd(plan->log_fd));
    outcome = run(*plan, order, kinds, log);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of user has cleared it
    if (!outcome.done) log.write(LogLevel::debug, kWho, outcome.why);
  } else {
    outcome = failure(plan.error());
  }
  (void)!state::write_all(result.get(), outcome.text()).ok();
  return outcome.done ? 0 : static_cast<int>(Fault::internal);
}

}  // namespace tap::daemon
