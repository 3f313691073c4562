// The sequence and onetimekey services as people run them: nothing is given twice, whatever is killed.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

using Numbers = std::vector<std::uint64_t>;

std::vector<std::string> sequence_words(const std::string& durability) {
  return {"sequence", "--listen", "tcp:0:interface=127.0.0.1", "--durability", durability};
}

/// One request on a connection of its own; empty when the worker was killed meanwhile.
std::string request(std::uint16_t port, const std::string& line) {
  Client client = Client::tcp(port);
  if (!client.open() || !client.send(line + "\n")) return {};
  return client.read_line();
}

std::uint64_t number(std::uint16_t port, const std::string& line) {
  const std::string answer = request(port, line);
  REQUIRE_FALSE(answer.empty());
  REQUIRE(answer.substr(0, 3) != "ERR");
  return std::stoull(answer);
}

void kill_worker(const Daemon& daemon, std::size_t takeovers) {
  const pid_t worker = daemon.worker();
  REQUIRE(worker > 0);
  send_signal(worker, SIGKILL);
  REQUIRE(daemon.wait_for_log("has taken over", takeovers));
}

/// Clients, each in a thread, that ask until they are told to end, and keep what they were answered.
class Askers {
 public:
  Askers(std::uint16_t port, std::size_t count) : answers_(count) {
    for (std::size_t i = 0; i < count; ++i) {
      threads_.emplace_back([this, port, i] {
        const std::string name = i % 2 == 0 ? "even" : "odd";
        while (!over_) ask_on_one_connection(port, name, answers_[i]);
      });
    }
  }
  Askers(const Askers&) = delete;
  Askers& operator=(const Askers&) = delete;
  ~Askers() { end(); }

  /// What was answered, by name: each number as often as it was given.
  std::map<std::string, Numbers> end() {
    over_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    std::map<std::string, Numbers> all;
    for (std::size_t i = 0; i < answers_.size(); ++i) {
      Numbers& of_name = all[i % 2 == 0 ? "even" : "odd"];
      of_name.insert(of_name.end(), answers_[i].begin(), answers_[i].end());
    }
    for (auto& [name, numbers] : all) std::sort(numbers.begin(), numbers.end());
    return all;
  }

 private:
  void ask_on_one_connection(std::uint16_t port, const std::string& name, Numbers& into) const {
    Client client = Client::tcp(port);
    while (!over_) {
      if (!client.open() || !client.send("NEXT " + name + "\n")) return;
      const std::string line = client.read_line();
      if (line.empty()) return;  // the worker that was asked is gone
      into.push_back(std::stoull(line));
    }
  }

  std::atomic<bool> over_{false};
  std::vector<Numbers> answers_;
  std::vector<std::thread> threads_;
};

bool all_different(const Numbers& sorted) { return std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(); }

/// Several clients ask while the worker is killed again and again. Returns what each name has given and would give.
void check_under_kills(const std::string& durability) {
  const TemporaryDirectory directory;
  Daemon daemon(directory, sequence_words(durability));
  REQUIRE(daemon.started());
  Askers askers(daemon.port(), 4);
  for (std::size_t i = 1; i <= 4; ++i) kill_worker(daemon, i);
  (void)number(daemon.port(), "NEXT even");  // the newest worker has served, too
  for (const auto& given : askers.end()) {
    const auto& name = given.first;  // no structured binding: clang 14 does not capture those
    const Numbers& numbers = given.second;
    CAPTURE(name);
    REQUIRE_FALSE(numbers.empty());
    CHECK(all_different(numbers));
    CHECK(number(daemon.port(), "NEXT " + name) > numbers.back());
  }
  CHECK(daemon.stop());
}

}  // namespace

TEST_CASE("sequence: several clients under kills get each number once, and the last worker goes on behind them") {
  check_under_kills("strict");
}

TEST_CASE("sequence: with durability reserve no number comes twice either") { check_under_kills("reserve"); }

TEST_CASE("sequence: without a kill nothing is skipped, and a stop and start goes on where it was") {
  for (const char* durability : {"strict", "interval:1s", "shutdown", "reserve"}) {
    CAPTURE(durability);
    const TemporaryDirectory directory;
    std::map<std::string, std::uint64_t> last;  // of the numbers given
    for (int round = 0; round < 2; ++round) {
      Daemon daemon(directory, sequence_words(durability));
      REQUIRE(daemon.started());
      Askers askers(daemon.port(), 2);
      Numbers own;
      for (int i = 0; i < 50; ++i) own.push_back(number(daemon.port(), "NEXT odd"));
      for (const auto& given : askers.end()) {
        const auto& name = given.first;
        Numbers numbers = given.second;
        CAPTURE(name);
        if (name == "odd") numbers.insert(numbers.end(), own.begin(), own.end());
        std::sort(numbers.begin(), numbers.end());
        CHECK(all_different(numbers));
        REQUIRE_FALSE(numbers.empty());
        CHECK(numbers.front() == last[name] + 1);
        CHECK(numbers.back() == last[name] + numbers.size());
        last[name] = numbers.back();
      }
      CHECK(daemon.stop());
    }
  }
}

TEST_CASE("sequence: killed in strict, it skips nothing that was answered; in reserve, less than a block") {
  for (const bool reserve : {false, true}) {
    const TemporaryDirectory directory;
    std::vector<std::string> words = sequence_words(reserve ? "reserve" : "strict");
    words.insert(words.end(), {"--reserve-block", "16"});
    Daemon daemon(directory, words);
    REQUIRE(daemon.started());
    std::uint64_t expected = 1;
    std::uint64_t skipped = 0;
    for (std::size_t kills = 1; kills <= 3; ++kills) {
      // Blocks of 1, 2, 4, 8, 16 and 16 are 47: killed where a block ends, and in the midst of one.
      const int requests = kills == 2 ? 40 : 47;
      for (int i = 0; i < requests; ++i) {
        const std::uint64_t given = number(daemon.port(), "NEXT a");
        CHECK(given >= expected);
        CHECK(given < expected + 16);
        skipped += given - expected;
        expected = given + 1;
      }
      kill_worker(daemon, kills);
    }
    CHECK((skipped == 0) == !reserve);
    const std::uint64_t last = number(daemon.port(), "PEEK a");
    CHECK(daemon.stop());
    Daemon again(directory, words);
    REQUIRE(again.started());
    CHECK(number(again.port(), "NEXT a") == last);
    CHECK(again.stop());
  }
}

TEST_CASE("sequence: its archive goes to JSON and XML and back, and what is edited there counts") {
  const TemporaryDirectory directory;
  {
    Daemon daemon(directory, sequence_words("strict"));
    REQUIRE(daemon.started());
    CHECK(request(daemon.port(), "NEXT invoices/2026 41") == "1 41");
    CHECK(request(daemon.port(), "NEXT b") == "1");
    CHECK(daemon.stop());
  }
  const auto convert = [&](const std::string& from, const std::string& to) {
    return run({program("tap"), "convert", from, to}, directory.path()).code;
  };
  for (const char* middle : {"m.json", "m.xml"}) {
    CHECK(convert("Sequence-shutdown.tap", middle) == 0);
    CHECK(convert(middle, "back.tap") == 0);
    CHECK(read_text(directory / "back.tap") == read_text(directory / "Sequence-shutdown.tap"));
  }
  std::string json = read_text(directory / "m.json");
  const std::string field = "\"next\": 42";
  REQUIRE(json.find(field) != std::string::npos);
  json.replace(json.find(field), field.size(), "\"next\": 500");
  write_text(directory / "m.json", json);
  CHECK(convert("m.json", "edited.tap") == 0);
  Daemon daemon(directory, {"-f", "edited.tap", "--rewind"});
  REQUIRE(daemon.started());
  CHECK(request(daemon.port(), "NEXT invoices/2026") == "500");
  CHECK(daemon.stop());
}

TEST_CASE("onetimekey: fifty clients at once under kills get different numbers, and none that was given comes again") {
  const TemporaryDirectory directory;
  const std::vector<std::string> words{"onetimekey", "--listen", "tcp:0:interface=127.0.0.1", "--start", "1000"};
  Daemon daemon(directory, words);
  REQUIRE(daemon.started());
  Numbers all;
  for (std::size_t round = 1; round <= 3; ++round) {
    std::vector<Client> clients;
    for (int i = 0; i < 50; ++i) clients.push_back(Client::tcp(daemon.port()));
    // The first has its answer, the others are at any stage: served, accepted, or in the backlog for the next worker.
    const std::string first = clients.front().read_all();
    REQUIRE_FALSE(first.empty());
    send_signal(daemon.worker(), SIGKILL);
    all.push_back(std::stoull(first));
    for (std::size_t i = 1; i < clients.size(); ++i) {
      const std::string answer = clients[i].read_all();
      if (!answer.empty() && answer.back() == '\n') all.push_back(std::stoull(answer));
    }
    REQUIRE(daemon.wait_for_log("has taken over", round));
  }
  std::sort(all.begin(), all.end());
  CHECK(all.front() >= 1000);
  CHECK(all_different(all));
  CHECK(daemon.stop());
  Daemon again(directory, words);
  REQUIRE(again.started());
  Client client = Client::tcp(again.port());
  const std::string next = client.read_all();
  REQUIRE_FALSE(next.empty());
  CHECK(std::stoull(next) > all.back());
  CHECK(again.stop());
}

// --- a million names (TAP_LONG=1) -----------------------------------------------------------------------------------

namespace {

/// One NEXT for each of `count` names, in an order that is not theirs.
void make_names(std::uint16_t port, std::size_t count) {
  constexpr std::size_t kAtOnce = 10'000;
  constexpr std::size_t kStride = 7919;  // has no factor in common with the counts used here
  Client client = Client::tcp(port);
  for (std::size_t begin = 0; begin < count; begin += kAtOnce) {
    std::string requests;
    for (std::size_t i = begin; i < begin + kAtOnce; ++i) {
      requests += "NEXT customer/" + std::to_string(i * kStride % count) + "\n";
    }
    REQUIRE(client.send(requests));
    std::size_t answers = 0;
    while (answers < kAtOnce) {
      const std::string some = client.read_some();
      REQUIRE_FALSE(some.empty());
      answers += static_cast<std::size_t>(std::count(some.begin(), some.end(), '\n'));
    }
  }
}

/// From the start of tapd to its first answer, then everything of it is killed.
double restart_seconds(const TemporaryDirectory& directory, std::uint64_t expected) {
  const auto begin = std::chrono::steady_clock::now();
  const Daemon daemon(directory, sequence_words("strict"));
  REQUIRE(daemon.started());
  CHECK(number(daemon.port(), "NEXT probe") == expected);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

TEST_CASE("sequence: with a million names a start after kill -9 answers soon, and has all of them") {
  if (!long_run()) return;
  const std::size_t names = 1'000'000;
  const TemporaryDirectory directory;
  {
    Daemon daemon(directory, sequence_words("strict"));
    REQUIRE(daemon.started());
    make_names(daemon.port(), names);
  }
  const double replayed = restart_seconds(directory, 1);
  MESSAGE("after the kill, with the newest names in the journal: " << replayed << " s");
  CHECK(replayed < (sanitized() ? 60 : 3));
  std::vector<double> took;
  for (std::uint64_t i = 2; i <= 6; ++i) took.push_back(restart_seconds(directory, i));
  std::sort(took.begin(), took.end());
  MESSAGE("after a kill, all in the archive but one change: " << took[2] << " s, the median of five");
  CHECK(took[2] < (sanitized() ? 60 : 3));  // a third of it when nothing else runs
  Daemon daemon(directory, sequence_words("strict"));
  REQUIRE(daemon.started());
  Client client = Client::tcp(daemon.port());
  std::size_t listed = 0;
  for (std::string last;;) {
    REQUIRE(client.send("LIST " + last + (last.empty() ? "\n" : " 10000\n")));
    std::size_t lines = 0;
    for (std::string line; (line = client.read_line()) != "." && !line.empty(); ++lines) {
      last = line.substr(0, line.find(' '));
    }
    if (lines == 0) break;
    listed += lines;
  }
  CHECK(listed == names + 1);
  CHECK(daemon.stop());
}
