// TaskSet: what goes on in the background, and its end.
//
// Tests: tests/services/net/deferred_tools_test.cpp
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "services/net/deferred.hpp"
#include "services/net/reactor.hpp"

namespace tap::net {

/// Owns Deferreds that nobody waits for. One that ends with an error is logged, once, with the set's name and the
/// task's; it ends nothing else. Exceptions are counted with those of the service in whose code the set was made.
///
/// Thread:   the loop's.
/// Lifetime: the reactor outlives it. Dropping it drops the tasks where they are.
class TaskSet {
 public:
  /// More at once are refused: the task is dropped and that is logged.
  static constexpr std::size_t kTasksMax = 100'000;

  /// `who` is the service's name, for the log.
  TaskSet(Reactor& reactor, std::string who, std::size_t tasks_max = kTasksMax);
  TaskSet(const TaskSet&) = delete;
  TaskSet& operator=(const TaskSet&) = delete;
  ~TaskSet();

  /// `what` names the task in the log ("127.0.0.1:40123", "the hourly clean-up"). False when it was refused:
  /// the set is closed or full.
  bool add(Deferred<void> task, std::string what);
  /// Takes no more, and asks those that are there to give up; the answer comes when the last has ended. Repeated: the
  /// earlier answer is dropped.
  [[nodiscard]] Deferred<void> close();

  [[nodiscard]] std::size_t size() const { return tasks_.size(); }
  /// Tasks that ended with an error since the beginning, not counting those cancelled,
  /// and how many of these were exceptions.
  [[nodiscard]] std::uint64_t failures() const { return failures_; }
  [[nodiscard]] std::uint64_t exceptions() const { return exceptions_; }

 private:
  struct Task;
  void ended(Task& task);
  void judge(const Result<void>& answer, const std::string& what);

  Reactor& reactor_;
  Reactor::Account account_;
  std::string who_;
  std::size_t tasks_max_;
  std::list<std::unique_ptr<Task>> tasks_;
  DeferredSource<void> closed_;
  bool closing_ = false;
  std::uint64_t failures_ = 0;
  std::uint64_t exceptions_ = 0;
};

}  // namespace tap::net
