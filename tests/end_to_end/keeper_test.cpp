// The keeper: its pid never changes, workers come and go, clients are not refused.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

using Clock = std::chrono::steady_clock;

/// A datagram socket such as systemd's $NOTIFY_SOCKET.
class NotifySocket {
 public:
  explicit NotifySocket(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    REQUIRE(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  std::string next() {
    const timeval patience{kPatienceMs / 1000, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char text[1024];
    const ssize_t got = ::recv(fd_.get(), text, sizeof text, 0);
    return {text, got > 0 ? static_cast<std::size_t>(got) : 0};
  }

 private:
  tap::Fd fd_;
};

/// Kills the worker and waits until the next one has taken over.
void kill_worker(const Daemon& daemon, std::size_t takeovers) {
  const pid_t worker = daemon.worker();
  REQUIRE(worker > 0);
  send_signal(worker, SIGKILL);
  REQUIRE(daemon.wait_for_log("has taken over", takeovers));
}

}  // namespace

TEST_CASE("keeper: while workers are killed every client gets through, and the pid stays") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"echo", "--listen", "tcp:0:interface=127.0.0.1"});
  REQUIRE(daemon.started());
  const pid_t keeper = daemon.keeper();
  std::atomic<bool> over{false};
  std::atomic<int> refused{0};
  std::atomic<int> served{0};
  std::thread clients([&] {
    while (!over) {
      Client client = Client::tcp(daemon.port());
      if (!client.open()) ++refused;
      // A connection that the killed worker had taken is cut; one in the backlog is served by the next.
      else if (client.send("x") && client.read_some() == "x") ++served;
    }
  });
  for (std::size_t i = 1; i <= 5; ++i) kill_worker(daemon, i);
  over = true;
  clients.join();
  CHECK(refused == 0);
  CHECK(served > 0);
  CHECK(daemon.keeper() == keeper);
  CHECK(count_of(daemon.log(), "at once") == 5);
  CHECK(daemon.stop());
}

TEST_CASE("keeper: a killed worker is replaced within 100 ms, as the median of five") {
  std::vector<double> took_ms;
  for (int i = 0; i < 5; ++i) {
    const TemporaryDirectory directory;
    Daemon daemon(directory, fibonacci_lines());
    REQUIRE(daemon.started());
    CHECK(ask(daemon.port()) == "2");
    const pid_t worker = daemon.worker();
    const auto before = Clock::now();
    send_signal(worker, SIGKILL);
    REQUIRE(wait_until_gone(worker));
    CHECK_FALSE(ask(daemon.port()).empty());
    took_ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - before).count());
    CHECK(daemon.stop());
  }
  std::sort(took_ms.begin(), took_ms.end());
  CHECK(took_ms[2] < (sanitized() ? 1000 : 100));
}

TEST_CASE("keeper: what a killed worker has given is never given again, and nothing needs to be said") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE(daemon.started());
  const std::vector<std::string> expected{"2", "3", "5", "8", "13"};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(ask(daemon.port()) == expected[i]);
    kill_worker(daemon, i + 1);
  }
  CHECK(count_of(daemon.log(), "may be given again") == 0);
  CHECK(count_of(daemon.log(), "replayed 1 changes in 1 batches from the journal") == expected.size());
  CHECK(daemon.stop());
}

TEST_CASE("keeper: with durability shutdown the log tells what a killed worker may repeat") {
  const TemporaryDirectory directory;
  std::vector<std::string> words = fibonacci_lines();
  words.insert(words.end(), {"--durability", "shutdown"});
  Daemon daemon(directory, words);
  REQUIRE(daemon.started());
  CHECK(ask(daemon.port()) == "2");
  kill_worker(daemon, 1);
  CHECK(count_of(daemon.log(), "may be given again") == 1);
  CHECK(count_of(daemon.log(), "killed by signal 9") == 1);
  CHECK(daemon.stop());
}

TEST_CASE("keeper: more than five deaths in ten seconds are met with a growing pause") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE(daemon.started());
  for (std::size_t i = 1; i <= 7; ++i) kill_worker(daemon, i);
  CHECK(count_of(daemon.log(), "starts at once") == 5);
  CHECK(count_of(daemon.log(), "starts in 100 ms") == 1);
  CHECK(count_of(daemon.log(), "starts in 200 ms") == 1);
  CHECK(ask(daemon.port()) == "2");
  CHECK(daemon.stop());
}

TEST_CASE("keeper: when it is killed the worker saves and goes too, and the next start finds everything free") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE(daemon.started());
  CHECK(ask(daemon.port()) == "2");
  const pid_t worker = daemon.worker();
  send_signal(daemon.keeper(), SIGKILL);
  CHECK(wait_until_gone(worker));
  Daemon again(directory, fibonacci_lines());
  REQUIRE_MESSAGE(again.started(), again.launcher().err);
  CHECK(ask(again.port()) == "3");
  CHECK(again.stop());
}

TEST_CASE("keeper: a worker whose store was damaged meanwhile ends the daemon with 65") {
  const TemporaryDirectory directory;
  std::vector<std::string> words{program("tapd"), "-n"};
  for (const std::string& word : fibonacci_lines()) words.push_back(word);
  Process tapd(words, directory.path());
  REQUIRE(ports_in(tapd.read_line()).size() == 1);
  write_text(directory / "Fibonacci.state/Fibonacci-1.tap", "ruined");
  const std::vector<pid_t> workers = children_of(tapd.pid());
  REQUIRE(workers.size() == 1);
  send_signal(workers[0], SIGKILL);
  const Ended ended = tapd.wait();
  CHECK(ended.code == 65);
  CHECK(count_of(ended.err, "not a tap archive") >= 1);
  CHECK(read_text(directory / "Fibonacci.state/Fibonacci-1.tap") == "ruined");
}

TEST_CASE("keeper: a worker asks for huge pages, unless the user has set what malloc does") {
  const auto environment_of = [](const Daemon& daemon) {
    return read_text("/proc/" + std::to_string(daemon.worker()) + "/environ");
  };
  const TemporaryDirectory directory;
  {
    Daemon daemon(directory, fibonacci_lines());
    REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
    CHECK(count_of(environment_of(daemon), "GLIBC_TUNABLES=glibc.malloc.hugetlb=1") == 1);
    CHECK(daemon.stop());
  }
  Daemon daemon(directory, fibonacci_lines(), {"GLIBC_TUNABLES=glibc.malloc.perturb=0"});
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  CHECK(count_of(environment_of(daemon), "GLIBC_TUNABLES=glibc.malloc.perturb=0") == 1);
  CHECK(count_of(environment_of(daemon), "hugetlb") == 0);
  CHECK(daemon.stop());
}

TEST_CASE("keeper: HUP, USR1, USR2 and QUIT report, reopen, refuse and tell; none of them ends it") {
  const TemporaryDirectory directory;
  const std::string config =
      "[application]\nname = \"A\"\n[[service]]\nname = \"fib\"\nkind = \"fibonacci\"\nlisten = [\"tcp:0\"]\n";
  write_text(directory / "a.toml", config);
  Daemon daemon(directory, {"-c", "a.toml"});
  REQUIRE(daemon.started());
  daemon.signal(SIGHUP);
  CHECK(daemon.wait_for_log("would change nothing"));
  write_text(directory / "a.toml", config + "max_connections = 7\n");
  daemon.signal(SIGHUP);
  CHECK(daemon.wait_for_log("service 'fib' would change"));
  write_text(directory / "a.toml", config + "max_conections = 7\n");
  daemon.signal(SIGHUP);
  CHECK(daemon.wait_for_log("the config is refused"));
  daemon.signal(SIGUSR2);
  CHECK(daemon.wait_for_log("not in this version"));
  daemon.signal(SIGQUIT);
  CHECK(daemon.wait_for_log("status: fib: 0 connections open"));

  REQUIRE(::rename((directory / "tapd.log").c_str(), (directory / "tapd.log.1").c_str()) == 0);
  daemon.signal(SIGUSR1);
  CHECK(daemon.wait_for_log("opened anew"));
  daemon.signal(SIGQUIT);
  CHECK(daemon.wait_for_log("status: fib:"));  // the worker writes to the new file too
  CHECK(daemon.stop());
}

TEST_CASE("keeper: systemd hears READY, STATUS and STOPPING from the main process") {
  const TemporaryDirectory directory;
  NotifySocket socket(directory / "notify");
  Process tapd({program("tapd"), "-n", "--pidfile=", "echo", "--listen", "tcp:0"}, directory.path(),
               {"NOTIFY_SOCKET=" + (directory / "notify")});
  const std::string ready = socket.next();
  CHECK(count_of(ready, "READY=1") == 1);
  CHECK(count_of(ready, "STATUS=serving 1 services of Echo") == 1);
  CHECK(count_of(ready, "MAINPID=" + std::to_string(tapd.pid())) == 1);
  REQUIRE(ports_in(tapd.read_line()).size() == 1);
  tapd.signal(SIGTERM);
  CHECK(count_of(socket.next(), "STOPPING=1") == 1);
  CHECK(tapd.wait().code == 0);
  CHECK_FALSE(exists(directory / "tapd.pid"));
}
