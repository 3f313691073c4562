#include "daemon/alone.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "daemon/compactor.hpp"
#include "daemon/notify.hpp"
#include "daemon/signals.hpp"
#include "daemon/worker.hpp"

namespace tap::daemon {
namespace {

/// The worker owns what its plan names; the instance keeps its own copies.
void copy_descriptors(WorkerPlan& plan) {
  const auto copy = [](std::int32_t& fd) {
    if (fd >= 0) fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  };
  copy(plan.store_fd);
  copy(plan.lock_fd);
  for (PlannedSocket& socket : plan.sockets) copy(socket.fd);
}

void on_signal(int signal, Instance& instance, Worker& worker, bool& stopping) {
  Log& log = instance.log();
  if (signal == SIGTERM || signal == SIGINT) {
    if (!stopping) {
      instance.announce_stopping();
      notify_systemd("STOPPING=1\nSTATUS=stopping");
    }
    worker.stop(stopping);
    stopping = true;
  } else if (signal == SIGHUP) {
    instance.report_reload();
    worker.reload();
  } else if (signal == SIGUSR1) {
    if (Result<void> opened = instance.reopen_log(); !opened)
      log.write(LogLevel::error, "tapd", opened.error().message);
  } else if (signal == SIGUSR2) {
    log.write(LogLevel::warning, "tapd", "SIGUSR2: there is no upgrade without a keeper; ignored");
  } else if (signal == SIGQUIT) {
    worker.log_status();
  }
}

/// The helper process of a worker that has no keeper.
class Compaction {
 public:
  explicit Compaction(Instance& instance) : instance_(instance) {}

  void start(Worker& worker, const std::string& order_text) {
    worker_ = &worker;
    Result<services::CompactionOrder> order = services::CompactionOrder::parse(order_text);
    Result<void> started = order ? compactor_.start(instance_.plan(), *order) : Result<void>(std::move(order).error());
    if (!started) {
      tell(CompactionResult{false, 0, "", started.error().message}.text());
      return;
    }
    ended_.emplace(worker.reactor(), compactor_.fd(), [this] { finish(); });
  }
  void stop() {
    if (!compactor_.running()) return;
    ended_.reset();
    compactor_.stop();
    tell(CompactionResult::parse("").text());
  }

 private:
  void finish() {
    if (!compactor_.running()) return;
    const std::string text = compactor_.finish().text();
    tell(text);
  }
  /// From a turn of its own: the watch that called us ends there.
  void tell(const std::string& text) {
    worker_->reactor().post([this, text] {
      ended_.reset();
      worker_->compacted(text);
    });
  }

  Instance& instance_;
  Worker* worker_ = nullptr;
  Compactor compactor_;
  std::optional<net::Watch> ended_;
};

}  // namespace

int run_alone(Instance& instance, LaunchReport& report, const services::Registry& kinds) {
  Result<SignalReader> signals = SignalReader::open({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGPIPE});
  if (!signals) {
    report.failed(signals.error());
    return signals.error().exit_code();
  }
  WorkerPlan plan = instance.plan();
  copy_descriptors(plan);
  std::optional<Identity> identity;
  if (plan.change_identity) identity = Identity{plan.uid, plan.gid};
  Result<TlsKeysOfSockets> keys = load_keys(plan);
  Result<void> dropped = keys ? drop_privileges(identity, plan.chroot) : Result<void>(keys.error());
  if (!dropped) {
    instance.finish(false);
    report.failed(dropped.error());
    return dropped.error().exit_code();
  }
  bool saved = false;
  Worker* serving = nullptr;
  Compaction compaction(instance);
  Worker worker(std::move(plan), std::move(keys).value(), kinds, instance.log(), [&](Message message) {
    if (message.type == Message::Type::stopped) saved = !message.text.empty();
    if (message.type == Message::Type::compact) compaction.start(*serving, message.text);
    if (message.type == Message::Type::stop_compaction) compaction.stop();
  });
  serving = &worker;
  if (Result<void> started = worker.start(); !started) {
    instance.log().write(LogLevel::error, "tapd", started.error().message);
    instance.finish(false);
    report.failed(started.error());
    return started.error().exit_code();
  }
  instance.close_sockets();
  instance.mark_serving();
  report.ready(instance.listening(), instance.notes(), instance.uses_stdio());
  notify_systemd("READY=1\nSTATUS=serving " + instance.definition().name);
  int notify_fd = instance.options().notify_fd;
  notify_descriptor(notify_fd);
  bool stopping = false;
  const net::Watch watch(worker.reactor(), signals->fd(), [&] {
    while (const std::optional<int> signal = signals->next()) on_signal(*signal, instance, worker, stopping);
  });
  const int code = worker.run();
  instance.finish(saved);
  return code;
}

}  // namespace tap::daemon
