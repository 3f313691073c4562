// A crowd of clients that do a server no good, and one that wants an answer: it gets it in time, within the memory that
// was allowed, and nothing is left of the crowd afterwards. A tenth of the numbers; TAP_LONG=1: all of them.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

using Clock = std::chrono::steady_clock;

constexpr long kBudgetKib = 16 * 1024;
/// A sanitizer makes everything slower, and it is not what is measured then.
int healthy_p99_ms_max() { return sanitized() ? 500 : 50; }
/// What a connection may cost besides buffers, with the kernel's part left out, in bytes.
constexpr long kConnectionBytesMax = 2048;
/// Others on this machine may spoil a window; a server that is slow spoils all of them.
constexpr int kWindows = 5;

std::size_t share(std::size_t all) { return long_run() ? all : all / 10; }

/// Sends until neither kernel takes more.
void fill(const Client& client) {
  const std::string piece(65'536, 'x');
  while (::send(client.fd(), piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) continue;
}

/// The clients that do no good.
struct Crowd {
  std::vector<Client> idle;
  std::vector<Client> dripping;
  std::vector<Client> stuck;
  std::size_t next_drip = 0;
  Clock::time_point began = Clock::now();

  void gather(std::uint16_t echo, std::uint16_t lines) {
    for (std::size_t i = 0; i < share(5000); ++i) idle.push_back(Client::tcp(echo));
    for (std::size_t i = 0; i < share(500); ++i) dripping.push_back(Client::tcp(lines));
    for (std::size_t i = 0; i < share(100); ++i) stuck.push_back(Client::tcp(echo));
    for (const auto* clients : {&idle, &dripping, &stuck}) {
      for (const Client& client : *clients) REQUIRE(client.open());
    }
    began = Clock::now();
  }
  /// One byte a second from each of the dripping, spread over the second; those that never read send what is taken.
  void go_on() {
    const double gone_s = std::chrono::duration<double>(Clock::now() - began).count();
    for (; static_cast<double>(next_drip) < gone_s * static_cast<double>(dripping.size()); ++next_drip) {
      (void)::send(dripping[next_drip % dripping.size()].fd(), "N", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    for (const Client& client : stuck) fill(client);
  }
};

/// The 99th percentile of what a client waits that asks again as soon as it is answered, in ms.
double healthy_p99_ms(Client& healthy, Crowd& crowd) {
  std::vector<double> waits;
  const auto end = Clock::now() + std::chrono::seconds(long_run() ? 5 : 1);
  while (Clock::now() < end) {
    crowd.go_on();
    for (int i = 0; i < 10; ++i) {
      const auto asked = Clock::now();
      REQUIRE(healthy.send("hello"));
      REQUIRE(healthy.read_exactly(5) == "hello");
      waits.push_back(std::chrono::duration<double, std::milli>(Clock::now() - asked).count());
    }
  }
  const auto at = waits.begin() + static_cast<std::ptrdiff_t>(waits.size() * 99 / 100);
  std::nth_element(waits.begin(), at, waits.end());
  return *at;
}

/// Asks for status reports until one says this.
bool reports(const Daemon& daemon, const std::string& part) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(kPatienceMs);
  for (std::size_t report = count_of(daemon.log(), "status: application") + 1; Clock::now() < deadline; ++report) {
    daemon.signal(SIGQUIT);
    if (!daemon.wait_for_log("status: memory budget", report)) return false;
    const std::string log = daemon.log();
    if (log.find(part, log.rfind("status: application")) != std::string::npos) return true;
  }
  return false;
}

void write_config(const TemporaryDirectory& directory) {
  std::ofstream(directory / "crowd.toml") << "[application]\n"
                                             "name = \"Crowd\"\n"
                                             "memory_budget = \"16MiB\"\n"
                                             "[[service]]\n"
                                             "name = \"echo\"\n"
                                             "kind = \"echo\"\n"
                                             "listen = [\"tcp:0:interface=127.0.0.1:backlog=4096\"]\n"
                                             "[[service]]\n"
                                             "name = \"lines\"\n"
                                             "kind = \"sequence\"\n"
                                             "listen = [\"tcp:0:interface=127.0.0.1:backlog=4096\"]\n";
}

}  // namespace

TEST_CASE("crowd: idle, dripping and never reading clients cost a healthy one nothing, and leave nothing behind") {
  raise_descriptor_limit();
  const TemporaryDirectory directory;
  write_config(directory);
  Daemon daemon(directory, {"-c", "crowd.toml", "-o"});
  REQUIRE(daemon.started());
  const pid_t worker = daemon.worker();
  {
    Client first = Client::tcp(daemon.port());
    REQUIRE(first.send("x"));
    REQUIRE(first.read_exactly(1) == "x");
  }
  REQUIRE(reports(daemon, "echo: 0 connections open"));
  const std::size_t descriptors_before = descriptors_of(worker);
  const long before_kib = resident_kib(worker);

  Client healthy = Client::tcp(daemon.port());
  auto crowd = std::make_unique<Crowd>();
  crowd->gather(daemon.port(0), daemon.port(1));
  double p99_ms = 0;
  long most_kib = 0;
  for (int window = 0; window < kWindows; ++window) {
    p99_ms = healthy_p99_ms(healthy, *crowd);
    most_kib = std::max(most_kib, resident_kib(worker));
    if (window > 0 && p99_ms < healthy_p99_ms_max()) break;
  }
  CHECK(p99_ms < healthy_p99_ms_max());
  const std::size_t everybody = share(5000) + share(100) + 1;
  CHECK(reports(daemon, "echo: " + std::to_string(everybody) + " connections open"));
  CHECK(reports(daemon, "lines: " + std::to_string(share(500)) + " connections open"));
  CHECK(count_of(daemon.log(), "failed accepts") == 0);
  const long allowed_kib = kBudgetKib + kConnectionBytesMax * static_cast<long>(everybody) / 1024 + 2048;
  if (!sanitized()) CHECK(most_kib - before_kib < allowed_kib);

  healthy.close();
  crowd.reset();
  CHECK(reports(daemon, "echo: 0 connections open"));
  CHECK(reports(daemon, "lines: 0 connections open"));
  CHECK(reports(daemon, "memory budget: 0 of 16777216 bytes held"));
  CHECK(descriptors_of(worker) == descriptors_before);
  if (!sanitized()) CHECK(resident_kib(worker) - before_kib < kBudgetKib / 2);
  CHECK(daemon.worker() == worker);
  // The end of the worker asserts that no handle is left (~Reactor).
  CHECK(daemon.stop());
  CHECK(count_of(daemon.log(), "assertion") == 0);
}

TEST_CASE(
    "crowd: more clients than descriptors wait without work, those that are served go on, and the rest comes later") {
  raise_descriptor_limit();
  const TemporaryDirectory directory;
  Process daemon({"/bin/sh", "-c", "ulimit -n 160; exec \"$@\"", "sh", program("tapd"), "-n", "--no-keeper", "-o",
                  "echo", "--listen", "tcp:0:interface=127.0.0.1:backlog=1000"},
                 directory.path());
  const std::vector<std::uint16_t> ports = ports_in(daemon.read_line());
  REQUIRE(ports.size() == 1);
  std::vector<Client> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(Client::tcp(ports[0]));
    REQUIRE(clients.back().open());
    REQUIRE(clients.back().send("x"));
  }
  CHECK(clients[0].read_exactly(1) == "x");
  CHECK(clients[80].read_exactly(1) == "x");
  // Nothing is asked for a while: neither an answer nor an end may come to the last client, and no work is done.
  const double before_s = processor_s(daemon.pid());
  pollfd last{clients.back().fd(), POLLIN, 0};
  CHECK(::poll(&last, 1, 1000) == 0);
  CHECK(processor_s(daemon.pid()) - before_s < 0.2);
  REQUIRE(clients[0].send("y"));
  CHECK(clients[0].read_exactly(1) == "y");
  for (std::size_t gone = 0; gone < 250; ++gone) clients[gone].close();
  CHECK(clients.back().read_exactly(1) == "x");
  daemon.signal(SIGQUIT);
  daemon.signal(SIGTERM);
  const Ended ended = daemon.wait();
  CHECK(ended.code == 0);
  CHECK(count_of(ended.err, "descriptors are left, and are kept for the journal and the logs") == 1);
  CHECK(count_of(ended.err, "300 accepted, 0 refused") == 1);
  CHECK(count_of(ended.err, "failed accepts") == 0);
}

TEST_CASE("crowd: each limit of the one-service form is said once and holds") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"sequence", "--listen", "tcp:0:interface=127.0.0.1", "--max-connections-per-peer", "2",
                            "--request-timeout", "100ms", "--keepalive", "1min", "-o"});
  REQUIRE(daemon.started());
  Client slow = Client::tcp(daemon.port());
  Client other = Client::tcp(daemon.port());
  REQUIRE(other.send("PEEK a\n"));
  CHECK(other.read_line() == "1");
  CHECK(Client::tcp(daemon.port()).read_all().empty());
  CHECK(daemon.wait_for_log("its address has 2 already (max_connections_per_peer)"));
  REQUIRE(slow.send("PE"));
  CHECK(slow.read_all().empty());
  CHECK(daemon.wait_for_log("its request is not complete after 100 ms (request_timeout)"));
  CHECK(daemon.stop());
}

TEST_CASE("crowd: one that does not read is ended in time, and told once") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"echo", "--listen", "tcp:0:interface=127.0.0.1", "--slow-reader-timeout", "200ms",
                            "--write_buffer", "16KiB", "-o"});
  REQUIRE(daemon.started());
  Client stuck = Client::tcp(daemon.port());
  (void)stuck.send_until_stuck();
  CHECK(daemon.wait_for_log("bytes wait for it (slow_reader_timeout)"));
  Client other = Client::tcp(daemon.port());
  REQUIRE(other.send("hello"));
  CHECK(other.read_exactly(5) == "hello");
  CHECK(daemon.stop());
  CHECK(count_of(daemon.log(), "slow_reader_timeout") == 1);
}

TEST_CASE("crowd: a read rate holds, and loses nothing") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"echo", "--listen", "tcp:0:interface=127.0.0.1", "--read-rate", "100KiB", "-o"});
  REQUIRE(daemon.started());
  Client client = Client::tcp(daemon.port());
  const auto began = Clock::now();
  REQUIRE(client.send(std::string(150 * 1024, 'x')));
  CHECK(client.read_exactly(150 * 1024) == std::string(150 * 1024, 'x'));
  const double took_s = std::chrono::duration<double>(Clock::now() - began).count();
  CHECK(took_s > 0.4);  // a second's worth came at once
  CHECK(daemon.stop());
}
