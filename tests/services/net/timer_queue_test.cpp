#include "services/net/timer_queue.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using tap::net::Timer;
using tap::net::TimerQueue;

namespace {

/// A queue whose timers write their names down.
struct Notebook {
  TimerQueue queue;
  std::string written;

  [[nodiscard]] Timer note(std::uint64_t at_ms, const std::string& name) {
    return queue.schedule(at_ms, [this, name] { written += name; });
  }
  std::string run(std::uint64_t now_ms) {
    written.clear();
    queue.run_due(now_ms, [](const TimerQueue::Callback& callback) { callback(); });
    return written;
  }
};

}  // namespace

TEST_CASE("timer queue: what is due runs, earliest first, and once") {
  Notebook book;
  const Timer c = book.note(30, "c");
  const Timer a = book.note(10, "a");
  const Timer b = book.note(20, "b");
  CHECK(book.run(9).empty());
  CHECK(book.run(20) == "ab");
  CHECK(book.run(20).empty());
  CHECK(book.run(1000) == "c");
  CHECK(book.queue.size() == 0);
}

TEST_CASE("timer queue: equal deadlines run in the order of scheduling") {
  Notebook book;
  std::vector<Timer> timers;
  std::string expected;
  for (char name = 'a'; name <= 'z'; ++name) {
    timers.push_back(book.note(5, std::string(1, name)));
    expected += name;
  }
  CHECK(book.run(5) == expected);
}

TEST_CASE("timer queue: the next deadline is the earliest one, and none when nothing waits") {
  Notebook book;
  CHECK(!book.queue.next_ms().has_value());
  const Timer late = book.note(70, "late");
  {
    const Timer early = book.note(40, "early");
    CHECK(book.queue.next_ms() == 40);
  }
  CHECK(book.queue.next_ms() == 70);
}

TEST_CASE("timer queue: a dropped timer does not run") {
  Notebook book;
  {
    const Timer dropped = book.note(1, "dropped");
    CHECK(dropped.active());
  }
  CHECK(book.queue.size() == 0);
  CHECK(book.run(100).empty());
}

TEST_CASE("timer queue: a cancelled timer does not run, and may be cancelled again") {
  Notebook book;
  Timer timer = book.note(1, "x");
  timer.cancel();
  timer.cancel();
  CHECK(!timer.active());
  CHECK(book.run(100).empty());
  Timer none;
  none.cancel();
  CHECK(!none.active());
}

TEST_CASE("timer queue: a timer is active until it runs, and no longer while it runs") {
  TimerQueue queue;
  bool active_inside = true;
  Timer timer;
  timer = queue.schedule(1, [&] { active_inside = timer.active(); });
  CHECK(timer.active());
  queue.run_due(1, [](const TimerQueue::Callback& callback) { callback(); });
  CHECK(!active_inside);
  CHECK(!timer.active());
}

TEST_CASE("timer queue: a callback may cancel its own timer") {
  TimerQueue queue;
  Timer timer;
  std::string kept = "alive";
  timer = queue.schedule(1, [&timer, copy = kept, &kept] {
    timer.cancel();
    kept = copy + " afterwards";  // what the callback captured outlives the cancelling
  });
  queue.run_due(1, [](const TimerQueue::Callback& callback) { callback(); });
  CHECK(kept == "alive afterwards");
}

TEST_CASE("timer queue: a callback may cancel another timer that is due now") {
  Notebook book;
  Timer second;
  const Timer first = book.queue.schedule(1, [&] {
    book.written += "first";
    second.cancel();
  });
  second = book.note(1, "second");
  const Timer third = book.note(1, "third");
  CHECK(book.run(1) == "firstthird");
}

TEST_CASE("timer queue: a callback may cancel a timer that has run already") {
  Notebook book;
  Timer first = book.note(1, "first");
  const Timer second = book.queue.schedule(2, [&] {
    first.cancel();
    book.written += "second";
  });
  CHECK(book.run(2) == "firstsecond");
}

TEST_CASE("timer queue: what a callback schedules waits for the next run, even when it is due") {
  Notebook book;
  Timer again;
  const Timer first = book.queue.schedule(5, [&] {
    book.written += "first";
    again = book.note(0, "again");
  });
  const Timer second = book.note(6, "second");
  CHECK(book.run(10) == "firstsecond");
  CHECK(book.queue.next_ms() == 0);
  CHECK(book.run(10) == "again");
}

TEST_CASE("timer queue: a callback that schedules itself anew runs once a run") {
  TimerQueue queue;
  int runs = 0;
  Timer timer;
  std::function<void()> repeat = [&] {
    ++runs;
    timer = queue.schedule(0, repeat);
  };
  timer = queue.schedule(0, repeat);
  for (int i = 1; i <= 3; ++i) {
    queue.run_due(100, [](const TimerQueue::Callback& callback) { callback(); });
    CHECK(runs == i);
  }
}

TEST_CASE("timer queue: assigning to a timer calls off the one it held") {
  Notebook book;
  Timer timer = book.note(1, "old");
  timer = book.note(1, "new");
  CHECK(book.queue.size() == 1);
  CHECK(book.run(1) == "new");
}

TEST_CASE("timer queue: a moved timer is the other's from then on") {
  Notebook book;
  Timer from = book.note(1, "x");
  Timer to = std::move(from);
  from.cancel();  // NOLINT: that nothing happens is the point
  CHECK(to.active());
  Timer& self = to;
  to = std::move(self);
  CHECK(to.active());
  CHECK(book.run(1) == "x");
}

TEST_CASE("timer queue: an exception that the door lets through leaves the others to the next run") {
  Notebook book;
  const Timer first = book.queue.schedule(1, [] { throw 1; });
  const Timer second = book.note(1, "second");
  CHECK_THROWS_AS(book.run(1), int);
  CHECK(book.run(1) == "second");
}
