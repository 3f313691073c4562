#include "daemon/keeper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "daemon/notify.hpp"
#include "services/net/clock.hpp"

namespace tap::daemon {
namespace {

std::uint64_t now_ms() { return net::system_clock().now_ms(); }

std::string describe_end(int status) {
  if (WIFSIGNALED(status)) {
    return "was killed by signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
  }
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

/// For the processes that are made from here on, which may keep large states: the kernel then maps what they allocate in
/// pieces of 2 MiB where it can (madvise(2), MADV_HUGEPAGE). Looking up one of millions of names takes less time, and the
/// loop is not stopped by the upkeep of a million small pages. glibc reads it when a process begins; an idle worker takes
/// 2 % more memory by it. What the user has set stands.
void ask_for_huge_pages() { ::setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0); }

}  // namespace

int Keeper::run() {
  ask_for_huge_pages();
  Result<SignalReader> signals =
      SignalReader::open({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGCHLD, SIGPIPE});
  if (!signals) return refuse(signals.error());
  signals_ = std::move(signals).value();
  if (Result<void> spawned = spawn(); !spawned) return refuse(spawned.error());
  while (!exit_code_) turn();
  return *exit_code_;
}

int Keeper::refuse(const Error& error) {
  instance_.finish(false);
  report_.failed(error);
  return error.exit_code();
}

/// fork and exec of ourselves: a worker begins with nothing but its plan and the descriptors named there.
Result<void> Keeper::spawn() {
  Result<std::pair<Channel, Channel>> ends = Channel::make_pair();
  if (!ends) return std::move(ends).error();
  WorkerPlan plan = instance_.plan();
  plan.channel_fd = ends->second.fd();
  plan.keeper_pid = ::getpid();
  Result<Fd> plan_file = write_plan(plan);
  if (!plan_file) return std::move(plan_file).error();

  std::vector<int> inherited = plan.descriptors();
  inherited.push_back(plan_file->get());
  const std::string number = std::to_string(plan_file->get());
  std::array<const char*, 4> words{"tapd", "--worker", number.c_str(), nullptr};
  const pid_t child = ::fork();
  if (child < 0) return errno_error(Fault::temporary, "starting a worker");
  if (child == 0) {
    for (const int fd : inherited) ::fcntl(fd, F_SETFD, 0);
    // The signal mask stays full until the worker has set its own.
    ::execv("/proc/self/exe", const_cast<char* const*>(words.data()));
    ::_exit(static_cast<int>(Fault::internal));
  }
  worker_ = child;
  channel_ = std::move(ends->first);
  ready_ = false;
  failure_.reset();
  spawn_at_ms_.reset();
  return {};
}

void Keeper::turn() {
  const std::uint64_t now = now_ms();
  if (spawn_at_ms_ && now >= *spawn_at_ms_) {
    if (Result<void> spawned = spawn(); !spawned) {
      say(LogLevel::error, spawned.error().message);
      schedule_spawn(backoff_ms_);
    }
  }
  if (kill_at_ms_ && now >= *kill_at_ms_ && worker_ > 0) {
    say(LogLevel::error, "the worker has not ended in time and is killed");
    ::kill(worker_, SIGKILL);
    kill_at_ms_.reset();
  }
  std::optional<std::uint64_t> next = spawn_at_ms_;
  if (kill_at_ms_ && (!next || *kill_at_ms_ < *next)) next = kill_at_ms_;
  const int timeout = next ? static_cast<int>(std::min<std::uint64_t>(*next - std::min(*next, now_ms()), 60'000)) : -1;
  // poll(2) passes over descriptors that are -1.
  std::array<pollfd, 3> ready{pollfd{signals_.fd(), POLLIN, 0}, pollfd{channel_.fd(), POLLIN, 0},
                              pollfd{compactor_.fd(), POLLIN, 0}};
  if (::poll(ready.data(), ready.size(), timeout) < 0) return;
  if (channel_.open() && ready[1].revents != 0) on_messages();
  if (compactor_.running() && ready[2].revents != 0) end_compaction();
  while (const std::optional<int> signal = signals_.next()) on_signal(*signal);
}

void Keeper::on_signal(int signal) {
  switch (signal) {
    case SIGTERM:
    case SIGINT:
      begin_stop();
      break;
    case SIGHUP:
      instance_.report_reload();
      if (worker_ > 0 && !stopping_) channel_.send({Message::Type::reload, Fault::internal, "", Fd()});
      break;
    case SIGUSR1:
      reopen_log();
      break;
    case SIGUSR2:
      say(LogLevel::warning, "SIGUSR2: live upgrades are not in this version; ignored");
      break;
    case SIGQUIT:
      say(LogLevel::info, "status: keeper " + std::to_string(::getpid()) + ", worker " + std::to_string(worker_) +
                              (ready_ ? ", serving" : ", not ready") + ", " + std::to_string(deaths_ms_.size()) +
                              " deaths lately");
      if (worker_ > 0) channel_.send({Message::Type::report_status, Fault::internal, "", Fd()});
      break;
    case SIGCHLD:
      on_child();
      break;
    default:
      break;
  }
}

void Keeper::on_messages() {
  bool closed = false;
  while (std::optional<Message> message = channel_.receive(closed)) {
    if (message->type == Message::Type::ready) on_worker_ready();
    if (message->type == Message::Type::failed) failure_ = Error{message->fault, message->text};
    if (message->type == Message::Type::compact) start_compaction(message->text);
    if (message->type == Message::Type::stop_compaction && compactor_.running()) {
      compactor_.stop();
      channel_.send({Message::Type::compacted, Fault::internal, CompactionResult::parse("").text(), Fd()});
    }
    if (message->type == Message::Type::stopped) saved_ = !message->text.empty();
    if (message->type == Message::Type::stopped || (message->type == Message::Type::failed && ready_)) {
      // It ends by itself: standard input is over, or it could not save.
      stopping_ = true;
    }
  }
  if (closed) channel_ = Channel();
}

void Keeper::on_worker_ready() {
  ready_ = true;
  instance_.mark_serving();
  const bool first = !report_.given();
  report_.ready(instance_.listening(), instance_.notes(), instance_.uses_stdio());
  say(LogLevel::info, first ? "ready, pid " + std::to_string(::getpid()) + ", worker " + std::to_string(worker_)
                            : "worker " + std::to_string(worker_) + " has taken over");
  notify_systemd("READY=1\nSTATUS=serving " + std::to_string(instance_.definition().services.size()) + " services of " +
                 instance_.definition().name + "\nMAINPID=" + std::to_string(::getpid()));
  int fd = instance_.options().notify_fd;
  if (first) notify_descriptor(fd);
}

/// The helper process starts as the worker's user and reads what the worker has written.
void Keeper::start_compaction(const std::string& order_text) {
  Result<services::CompactionOrder> order = services::CompactionOrder::parse(order_text);
  Result<void> started = order ? compactor_.start(instance_.plan(), *order) : Result<void>(std::move(order).error());
  if (started) return;
  channel_.send({Message::Type::compacted, Fault::internal,
                 CompactionResult{false, 0, "", started.error().message}.text(), Fd()});
}

void Keeper::end_compaction() {
  channel_.send({Message::Type::compacted, Fault::internal, compactor_.finish().text(), Fd()});
}

void Keeper::on_child() {
  int status = 0;
  if (worker_ <= 0 || ::waitpid(worker_, &status, WNOHANG) != worker_) return;  // or it is the compactor's end
  if (channel_.open()) on_messages();                                           // its last words
  worker_ = -1;
  channel_ = Channel();
  compactor_.stop();  // the next worker recovers from what is there: nobody else may write
  on_worker_gone(status);
}

void Keeper::on_worker_gone(int status) {
  const std::string how = "the worker " + describe_end(status);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(Fault::internal);
  if (stopping_) {
    if (code != 0) say(LogLevel::error, how + (failure_ ? ": " + failure_->message : ""));
    end(code);
    return;
  }
  if (!report_.given()) {
    const Error error = failure_ ? *failure_ : Error{Fault::internal, how + " before it was ready"};
    say(LogLevel::error, error.message);
    end(error.exit_code());
    report_.failed(error);  // last: whoever started us finds everything given back
    return;
  }
  if (code == static_cast<int>(Fault::damaged) || code == static_cast<int>(Fault::config)) {
    say(LogLevel::error, how + (failure_ ? ": " + failure_->message : "") + "; starting it again would not help");
    end(code);
    return;
  }
  replace(how + (failure_ ? ": " + failure_->message : ""));
}

/// Clients that connect meanwhile wait in the backlog of the sockets we hold; none is refused.
void Keeper::replace(const std::string& how) {
  const std::uint64_t now = now_ms();
  deaths_ms_.push_back(now);
  while (!deaths_ms_.empty() && deaths_ms_.front() + kDeathsWithinMs < now) deaths_ms_.pop_front();
  const bool at_once = ready_ && deaths_ms_.size() <= kDeathsMax;
  if (at_once) backoff_ms_ = kBackoffFirstMs;
  const std::uint64_t delay = at_once ? 0 : backoff_ms_;
  if (!at_once) backoff_ms_ = std::min(backoff_ms_ * 2, kBackoffMaxMs);
  say(LogLevel::error, how + "; another one starts " + (at_once ? "at once" : "in " + std::to_string(delay) + " ms"));
  if (const std::string loses = instance_.what_a_crash_loses(); !loses.empty()) {
    say(LogLevel::warning, loses + "; numbers given since then may be given again");
  }
  schedule_spawn(delay);
}

void Keeper::schedule_spawn(std::uint64_t delay_ms) { spawn_at_ms_ = now_ms() + delay_ms; }

void Keeper::begin_stop() {
  if (!stopping_) {
    stopping_ = true;
    say(LogLevel::info, "stopping");
    instance_.announce_stopping();
    notify_systemd("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=" +
                   std::to_string((instance_.definition().stop_timeout_ms + kSaveMaxMs) * 1000));
    instance_.close_sockets();
    if (worker_ < 0) {  // between two workers: the store is as the last one left it
      saved_ = !instance_.options().no_save;
      end(0);
      return;
    }
    channel_.send({Message::Type::stop, Fault::internal, "", Fd()});
    kill_at_ms_ = now_ms() + instance_.definition().stop_timeout_ms + kSaveMaxMs;
    return;
  }
  say(LogLevel::warning, "stopping now: unsent answers are dropped");
  channel_.send({Message::Type::force, Fault::internal, "", Fd()});
}

void Keeper::reopen_log() {
  if (Result<void> opened = instance_.reopen_log(); !opened) {
    say(LogLevel::error, "SIGUSR1: " + opened.error().message + "; going on in the old file");
    return;
  }
  const int fd = instance_.log().fd();
  if (fd < 0) return;
  if (worker_ > 0) {
    channel_.send({Message::Type::reopen_log, Fault::internal, "", Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 3))});
  }
  say(LogLevel::info, "SIGUSR1: the log file is opened anew");
}

void Keeper::end(int code) {
  instance_.close_sockets();
  instance_.finish(saved_);
  say(LogLevel::info, "ended with exit code " + std::to_string(code));
  exit_code_ = code;
}

}  // namespace tap::daemon
