#include "services/net/task_set.hpp"

namespace tap::net {

struct TaskSet::Task final : public deferred::Waiter {
  Task(TaskSet& of, Deferred<void> task, std::string named)
      : owner(of), running(std::move(task)), what(std::move(named)) {}
  void completed() override { owner.ended(*this); }

  TaskSet& owner;
  Deferred<void> running;
  std::string what;
  std::list<std::unique_ptr<Task>>::iterator place;
};

TaskSet::TaskSet(Reactor& reactor, std::string who, std::size_t tasks_max)
    : reactor_(reactor), account_(reactor.charged()), who_(std::move(who)), tasks_max_(tasks_max) {}

TaskSet::~TaskSet() = default;

bool TaskSet::add(Deferred<void> task, std::string what) {
  if (task.done()) {
    judge(task.take(), what);
    return !closing_;
  }
  if (closing_ || tasks_.size() >= tasks_max_) {
    if (!closing_) {
      reactor_.log().write(LogLevel::warning, who_,
                           what + ": not begun, there are " + std::to_string(tasks_.size()) + " tasks already");
    }
    return false;
  }
  tasks_.push_back(std::make_unique<Task>(*this, std::move(task), std::move(what)));
  Task& added = *tasks_.back();
  added.place = std::prev(tasks_.end());
  added.running.core()->waiter = &added;
  return true;
}

Deferred<void> TaskSet::close() {
  closing_ = true;
  closed_ = DeferredSource<void>();
  Deferred<void> closed = closed_.deferred();
  for (auto next = tasks_.begin(); next != tasks_.end();) {
    Task& task = **next++;  // it may end, and leave the list
    task.running.cancel();
  }
  if (tasks_.empty()) closed_.callback();
  return closed;
}

void TaskSet::judge(const Result<void>& answer, const std::string& what) {
  if (answer || is_cancelled(answer.error())) return;
  ++failures_;
  const bool exception = is_exception(answer.error());
  if (exception) {
    ++exceptions_;
    reactor_.count_exception(account_);
  }
  reactor_.log().write(exception ? LogLevel::error : LogLevel::warning, who_, what + ": " + answer.error().message);
}

void TaskSet::ended(Task& task) {
  judge(task.running.take(), task.what);
  const std::unique_ptr<Task> gone = std::move(*task.place);
  tasks_.erase(task.place);
  if (closing_ && tasks_.empty()) closed_.callback();
}

}  // namespace tap::net
