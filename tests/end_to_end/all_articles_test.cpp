// Every server of the articles in one process, all of them in use at once, while the worker is killed and the daemon is
// stopped and resumed: tests/all-articles.toml.
//
// $TAP_LONG makes it last a minute.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "tests/end_to_end/articles.hpp"

using namespace tap::tests;

namespace {

/// All exercises at once, two clients for each, until it is destroyed.
class Load {
 public:
  explicit Load(Articles& articles) : articles_(articles) {
    articles_.begin();
    for (const Exercise& exercise : exercises()) {
      for (int client = 0; client < 2; ++client) {
        threads_.emplace_back([&articles, exercise] {
          while (articles.going_on()) exercise.run(articles, exercise.service);
        });
      }
    }
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() {
    articles_.end();
    for (std::thread& thread : threads_) thread.join();
  }
  /// Lets it go on for a while.
  void last(std::chrono::milliseconds time) {
    std::unique_lock<std::mutex> hold(lock_);
    never_.wait_for(hold, time, [] { return false; });
  }
  /// Until every service has answered so many more.
  [[nodiscard]] bool answers(std::uint64_t more) {
    std::vector<std::uint64_t> before;
    for (const Exercise& exercise : exercises()) before.push_back(articles_.ledger().answers(exercise.service));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
    for (std::size_t i = 0; i < before.size();) {
      if (articles_.ledger().answers(exercises()[i].service) >= before[i] + more) {
        ++i;
      } else if (std::chrono::steady_clock::now() > deadline) {
        MESSAGE(std::string(exercises()[i].service) << " does not answer; the log: " << articles_.daemon().log());
        return false;
      } else {
        last(std::chrono::milliseconds(10));
      }
    }
    return true;
  }

 private:
  Articles& articles_;
  std::vector<std::thread> threads_;
  std::mutex lock_;
  std::condition_variable never_;
};

/// What was given to one client each: none twice, and none lost but those whose client had no answer.
void check_numbers(Ledger& ledger, const std::string& what, const std::string& service, std::uint64_t first) {
  CAPTURE(what);
  const std::vector<std::uint64_t> numbers = ledger.numbers(what);
  REQUIRE_FALSE(numbers.empty());
  CHECK(std::adjacent_find(numbers.begin(), numbers.end()) == numbers.end());
  CHECK(numbers.front() >= first);
  const std::uint64_t all = numbers.back() - first + 1;
  const std::uint64_t skipped = all - std::min<std::uint64_t>(all, numbers.size());
  MESSAGE(what << ": " << numbers.size() << " were given, " << skipped << " have no client, "
               << ledger.failures(service) << " requests had no answer");
  CHECK(skipped <= ledger.failures(service));
}

}  // namespace

TEST_CASE(
    "all articles: under load, kills, stops and resumes nothing is lost or told twice, and nothing is left behind") {
  Articles articles;
  articles.start();
  {
    Load load(articles);
    for (int round = 0; round < (long_run() ? 8 : sanitized() ? 1 : 2); ++round) {
      CHECK(load.answers(3));
      for (int kill = 0; kill < 2; ++kill) {
        load.last(std::chrono::milliseconds(long_run() ? 2500 : 500));
        articles.kill_worker();
      }
      CHECK(load.answers(1));
      CHECK(articles.stop());
      articles.start();
    }
    CHECK(load.answers(3));
  }

  // One worker that lives: what it has before and after is compared when nobody is there.
  articles.kill_worker();
  const auto settled = [&](std::size_t at_most) {
    for (std::size_t report = 1; report < 200; ++report) {
      const std::size_t now = descriptors_of(articles.daemon().worker());
      if (now <= at_most) return now;
      const std::size_t reports = count_of(articles.daemon().log(), "status: application");
      articles.daemon().signal(SIGQUIT);  // it answers: its loop has turned
      if (!articles.daemon().wait_for_log("status: application", reports + 1)) break;
    }
    return descriptors_of(articles.daemon().worker());
  };
  const std::size_t idle = settled(0);
  {
    Load load(articles);
    CHECK(load.answers(3));
  }
  const pid_t worker = articles.daemon().worker();
  const std::size_t descriptors_before = settled(idle);
  const long before_kib = resident_kib(worker);
  {
    Load load(articles);
    load.last(std::chrono::milliseconds(long_run() ? 10'000 : 1500));
    CHECK(load.answers(3));
  }
  CHECK(settled(descriptors_before) <= descriptors_before);
  const long grown_kib = resident_kib(worker) - before_kib;
  MESSAGE("the worker, " << before_kib << " KiB, has grown by " << grown_kib << " KiB; descriptors " << idle << ", "
                         << descriptors_before << ", " << descriptors_of(worker));
  if (!sanitized()) CHECK(grown_kib < 4096);
  CHECK(articles.daemon().worker() == worker);
  CHECK(articles.stop());

  Ledger& ledger = articles.ledger();
  for (const std::string& fault : ledger.faults()) FAIL_CHECK(fault);
  for (const Exercise& exercise : exercises()) {
    CAPTURE(std::string(exercise.service));
    CHECK(ledger.answers(exercise.service) > 0);
    MESSAGE(std::string(exercise.service) << ": " << ledger.answers(exercise.service) << " answers, "
                                          << ledger.failures(exercise.service) << " requests had none");
  }
  check_numbers(ledger, "fibonacci", "fibonacci", 2);
  check_numbers(ledger, "onetimekey", "onetimekey", 1000);
  check_numbers(ledger, "sequence a", "sequence", 1);
  CHECK(count_of(articles.daemon().log(), "assertion") == 0);
  CHECK(count_of(articles.daemon().log(), "Sanitizer") == 0);
}
