// Articles: tests/all-articles.toml as one process, and what a test knows of it while it is killed,
// stopped and resumed.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/end_to_end/daemon.hpp"

namespace tap::tests {

/// A poem on the disk: old, so that nobody has to wait until it has settled.
void write_poem(const std::string& path, const std::string& text);
[[nodiscard]] std::string poem_text(std::size_t size);

/// What clients were told, and what was wrong with it. Thread: any.
class Ledger {
 public:
  void answered(const std::string& service) { add(service, &Counts::answers); }
  /// A request that was not answered, because the process that was to do it has gone. It may have been carried out.
  void unanswered(const std::string& service) { add(service, &Counts::failures); }
  void wrong(const std::string& service, const std::string& what);
  /// One thing that nobody else may be given. What was given is known by its number.
  void given(const std::string& what, std::uint64_t number);

  [[nodiscard]] std::uint64_t answers(const std::string& service) const;
  [[nodiscard]] std::uint64_t failures(const std::string& service) const;
  /// A sentence for each thing that was wrong, the first few of each service.
  [[nodiscard]] std::vector<std::string> faults() const;
  /// Numbers of `what`, sorted; what was given twice stands there twice.
  [[nodiscard]] std::vector<std::uint64_t> numbers(const std::string& what) const;

 private:
  struct Counts {
    std::uint64_t answers = 0;
    std::uint64_t failures = 0;
    std::uint64_t faults = 0;
  };
  void add(const std::string& service, std::uint64_t Counts::*what);

  mutable std::mutex lock_;
  std::map<std::string, Counts> counts_;
  std::map<std::string, std::vector<std::uint64_t>> numbers_;
  std::vector<std::string> faults_;
};

/// Thread: any for port(), going_on(), log_hit() and ledger(); the rest is the test's own.
class Articles {
 public:
  Articles();

  /// Files that the services are given; both poems are known to who is told them.
  [[nodiscard]] const std::string& fast_poem() const { return fast_poem_; }
  [[nodiscard]] const std::string& slow_poem() const { return slow_poem_; }
  [[nodiscard]] Ledger& ledger() { return ledger_; }

  /// Where a service listens now, by TCP, or as "NAME by UDP"; waits while the daemon is down. 0: it is over,
  /// or not there.
  [[nodiscard]] std::uint16_t port(const std::string& service, std::size_t index = 0);
  [[nodiscard]] bool going_on();
  /// Writes a line to the log that the weblogs follow, as a web server does, and returns what was asked for in it.
  [[nodiscard]] std::string log_hit();

  // --- the test's ---
  void start();
  [[nodiscard]] bool stop();
  void kill_worker();
  void begin();  ///< what goes on
  void end();
  [[nodiscard]] Daemon& daemon() { return *daemon_; }

 private:
  [[nodiscard]] std::string config() const;

  TemporaryDirectory directory_;
  TemporaryDirectory server_directory_;
  std::string fast_poem_;
  std::string slow_poem_;
  Ledger ledger_;
  std::unique_ptr<Daemon> server_;  ///< the proxy's poetry server: its port has to be known before
  std::unique_ptr<Daemon> daemon_;
  std::size_t takeovers_ = 0;
  std::mutex lock_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<std::uint16_t>> ports_;  ///< empty while it is down
  bool going_on_ = false;
  std::uint64_t hits_ = 0;
};

/// What one client does with one service, again and again while going_on(). One function for each service.
struct Exercise {
  const char* service;
  void (*run)(Articles& articles, const std::string& service);
};
[[nodiscard]] const std::vector<Exercise>& exercises();

}  // namespace tap::tests
