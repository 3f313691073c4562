// Stopping: what was received is answered, what was answered is sent, everything is saved, nothing hangs.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

/// Numbers handed out so far; a number seen twice is what must never happen.
class Ledger {
 public:
  void note(const std::string& number) {
    const std::lock_guard<std::mutex> hold(lock_);
    if (!numbers_.insert(number).second) ++repeated_;
  }
  [[nodiscard]] std::size_t size() const { return numbers_.size(); }
  [[nodiscard]] int repeated() const { return repeated_; }

 private:
  std::mutex lock_;
  std::set<std::string> numbers_;
  int repeated_ = 0;
};

/// Asks with pipelined requests until the daemon closes the connection; whole lines only are answers.
void keep_asking(std::uint16_t port, Ledger& ledger) {
  Client client = Client::tcp(port);
  while (client.open() && client.send("a\nb\nc\n")) {
    for (int i = 0; i < 3; ++i) {
      const std::string number = client.read_line();
      if (number.empty()) return;
      ledger.note(number);
    }
  }
}

/// One life of the daemon under load. The endpoint keeps its file, so clients come back to the same place.
void live_once(const TemporaryDirectory& directory, Ledger& ledger) {
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  const std::size_t before = ledger.size();
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) clients.emplace_back([&] { keep_asking(daemon.port(), ledger); });
  // Some answers at least, then the stop in the middle of the rest.
  Client witness = Client::tcp(daemon.port());
  for (int i = 0; i < 20; ++i) {
    REQUIRE(witness.send("x\n"));
    ledger.note(witness.read_line());
  }
  CHECK(daemon.stop());
  for (std::thread& client : clients) client.join();
  CHECK(ledger.size() >= before + 20);
}

}  // namespace

TEST_CASE("stop: in 50 lives under load no number is given twice, and every stop leaves a clean archive") {
  const TemporaryDirectory directory;
  Ledger ledger;
  for (int life = 0; life < 50; ++life) {
    live_once(directory, ledger);
    REQUIRE(exists(directory / "Fibonacci-shutdown.tap"));
    const Ended verified = run({program("tap"), "verify", "Fibonacci.state"}, directory.path());
    REQUIRE_MESSAGE(verified.code == 0, verified.out);
    CHECK(run({program("tap"), "verify", "Fibonacci-shutdown.tap"}, directory.path()).code == 0);
  }
  CHECK(ledger.repeated() == 0);
}

TEST_CASE("stop: every request that was received is answered, then the stream ends without a reset") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE(daemon.started());
  Client client = Client::tcp(daemon.port());
  REQUIRE(client.send("a\n"));
  CHECK(client.read_line() == "2");
  REQUIRE(client.send("b\nc\nan unfinished line"));
  CHECK(client.read_line() == "3");
  CHECK(client.read_line() == "5");
  CHECK(daemon.stop());
  CHECK(client.read_all().empty());
  CHECK_FALSE(client.failed());
}

TEST_CASE("stop: idle clients delay nothing") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE(daemon.started());
  std::vector<Client> idle;
  for (int i = 0; i < 100; ++i) idle.push_back(Client::tcp(daemon.port()));
  CHECK(ask(daemon.port()) == "2");
  CHECK(daemon.stop());
  CHECK(count_of(daemon.log(), "stop_timeout") == 0);
}

TEST_CASE("stop: a client that never reads is waited for up to the stop timeout, the state is saved all the same") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"echo", "--listen", "tcp:0:interface=127.0.0.1", "--stop-timeout", "300ms"});
  REQUIRE(daemon.started());
  Client stuck = Client::tcp(daemon.port());
  // More than the kernel's buffers hold: the daemon has unsent bytes, and stops reading.
  CHECK(stuck.send_until_stuck() > 0);
  CHECK(ask(daemon.port()).empty());  // an echo of the newline: others are served
  CHECK(daemon.stop());
  CHECK(count_of(daemon.log(), "unsent answers are dropped") == 1);
  CHECK(exists(directory / "Echo-shutdown.tap"));
}

TEST_CASE("stop: a second signal does not wait") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"echo", "--listen", "tcp:0:interface=127.0.0.1", "--stop-timeout", "1h"});
  REQUIRE(daemon.started());
  Client stuck = Client::tcp(daemon.port());
  CHECK(stuck.send_until_stuck() > 0);
  daemon.signal(SIGTERM);
  REQUIRE(daemon.wait_for_log("stopping"));
  const pid_t keeper = daemon.keeper();
  daemon.signal(SIGTERM);
  CHECK(wait_until_gone(keeper));
  CHECK(count_of(daemon.log(), "stopping now") == 1);
  CHECK(exists(directory / "Echo-shutdown.tap"));
}

TEST_CASE("stop: a disk that is full while saving is said, exit 70, and the older archive is whole") {
  const TemporaryDirectory directory;
  const std::string small = directory / "small";
  REQUIRE(::mkdir(small.c_str(), 0700) == 0);
  if (::mount("none", small.c_str(), "tmpfs", 0, "size=32k") != 0) {
    MESSAGE("not run: mounting a small file system needs root");
    return;
  }
  std::vector<std::string> words{program("tapd"), "-n", "--state-dir", "small/state"};
  for (const std::string& word : fibonacci_lines()) words.push_back(word);
  words.insert(words.end(), {"--durability", "shutdown"});
  Process tapd(words, directory.path());
  const std::vector<std::uint16_t> ports = ports_in(tapd.read_line());
  REQUIRE(ports.size() == 1);
  CHECK(ask(ports[0]) == "2");
  write_text(small + "/filler", std::string(64 * 1024, 'x'));
  tapd.signal(SIGTERM);
  const Ended ended = tapd.wait();
  CHECK(ended.code == 70);
  CHECK(count_of(ended.err, "No space left") >= 1);
  CHECK(count_of(ended.err, "generation 1") >= 1);
  CHECK(run({program("tap"), "verify", "small/state"}, directory.path()).code == 0);
  CHECK_FALSE(exists(small + "/state/Fibonacci-2.tap.tmp"));
  CHECK(::umount(small.c_str()) == 0);
}
