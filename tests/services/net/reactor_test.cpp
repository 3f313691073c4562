#include "services/net/reactor.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <uv.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "services/net/watch.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using tap::tests::Loop;

namespace {

/// Counts its flushes; may ask for another from inside one.
class CountingFlush final : public Flushable {
 public:
  explicit CountingFlush(Reactor& reactor) : reactor_(reactor) {}
  void flush() override {
    ++flushes;
    if (again-- > 0) reactor_.flush_later(*this);
    if (when_flushed) when_flushed();
  }
  int flushes = 0;
  int again = 0;
  std::function<void()> when_flushed;

 private:
  Reactor& reactor_;
};

}  // namespace

TEST_CASE("reactor: call_later with 0 never runs inside the call, but in the next turn") {
  Loop loop;
  bool called = false;
  const Timer timer = loop.reactor.call_later(0, [&] { called = true; });
  CHECK(!called);
  loop.turn();
  CHECK(called);
}

TEST_CASE("reactor: call_later with 0 from a timer runs in the turn after") {
  Loop loop;
  std::vector<std::string> order;
  Timer inner;
  const Timer outer = loop.reactor.call_later(0, [&] {
    inner = loop.reactor.call_later(0, [&] { order.emplace_back("inner"); });
    order.emplace_back("outer");
  });
  loop.turn();
  CHECK(order == std::vector<std::string>{"outer"});
  loop.turn();
  CHECK(order == std::vector<std::string>{"outer", "inner"});
}

TEST_CASE("reactor: a timer runs when the virtual clock has come to it, and not a millisecond before") {
  Loop loop;
  bool called = false;
  const Timer timer = loop.reactor.call_later(300'000, [&] { called = true; });
  loop.turn(3);
  CHECK(!called);
  loop.clock.advance(299'999);
  loop.turn(3);
  CHECK(!called);
  loop.clock.advance(1);
  loop.turn();
  CHECK(called);
}

TEST_CASE("reactor: a dropped timer does not run") {
  Loop loop;
  bool called = false;
  {
    const Timer dropped = loop.reactor.call_later(0, [&] { called = true; });
  }
  loop.turn(3);
  CHECK(!called);
}

TEST_CASE("reactor: run() sleeps until the system clock comes to a timer, and ends with stop()") {
  testing::RecordingLog log;
  Reactor reactor(log);
  const std::uint64_t started = reactor.now_ms();
  std::vector<int> order;
  const Timer last = reactor.call_later(20, [&] {
    order.push_back(2);
    reactor.stop();
  });
  const Timer first = reactor.call_later(10, [&] { order.push_back(1); });
  reactor.run();
  CHECK(order == std::vector<int>{1, 2});
  CHECK(reactor.now_ms() - started >= 20);
}

TEST_CASE("reactor: stop() before run() does not keep it from running, and it may run again") {
  Loop loop;
  int runs = 0;
  loop.reactor.stop();
  for (int i = 0; i < 3; ++i) {
    loop.reactor.post([&] {
      ++runs;
      loop.reactor.stop();
    });
    loop.reactor.run();
  }
  CHECK(runs == 3);
}

TEST_CASE("reactor: posted work runs in its order, in a turn, and never inside post()") {
  Loop loop;
  std::string order;
  loop.reactor.post([&] { order += "a"; });
  loop.reactor.post([&] { order += "b"; });
  CHECK(order.empty());
  loop.turn(2);
  CHECK(order == "ab");
}

TEST_CASE("reactor: work posted from posted work waits for a later turn") {
  Loop loop;
  std::string order;
  loop.reactor.post([&] {
    loop.reactor.post([&] { order += "later"; });
    CHECK(order.empty());
    order += "first ";
  });
  loop.turn();
  CHECK(order == "first ");
  CHECK(loop.turn_until([&] { return order == "first later"; }));
}

TEST_CASE("reactor: post() from many threads loses nothing and keeps each thread's order") {
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;
  testing::RecordingLog log;
  Reactor reactor(log);
  std::vector<std::vector<int>> heard(kThreads);
  int total = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        reactor.post([&, t, i] {
          heard[static_cast<std::size_t>(t)].push_back(i);
          if (++total == kThreads * kEach) reactor.stop();
        });
      }
    });
  }
  reactor.run();
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<int>& one : heard) {
    CHECK(one.size() == kEach);
    CHECK(std::is_sorted(one.begin(), one.end()));
  }
}

TEST_CASE("reactor: a post from another thread wakes a loop that sleeps") {
  testing::RecordingLog log;
  Reactor reactor(log);
  std::thread other([&] { reactor.post([&] { reactor.stop(); }); });
  reactor.run();  // nothing else would ever end it
  other.join();
}

TEST_CASE("reactor: work that is still posted at the end is destroyed and not run") {
  auto token = std::make_shared<int>(0);
  const std::weak_ptr<int> seen = token;
  {
    Loop loop;
    loop.reactor.post([token = std::move(token)] { ++*token; });
  }
  CHECK(seen.expired());
}

TEST_CASE("reactor: guarded says whether the code returned, and logs what it threw under its name") {
  Loop loop;
  CHECK(loop.reactor.guarded("fib", [] {}));
  CHECK(loop.log.lines().empty());
  CHECK(!loop.reactor.guarded("fib", [] { throw std::runtime_error("no more rabbits"); }));
  CHECK(!loop.reactor.guarded("echo", [] { throw 7; }));
  REQUIRE(loop.log.lines().size() == 2);
  CHECK(loop.log.lines()[0].level == LogLevel::error);
  CHECK(loop.log.lines()[0].who == "fib");
  CHECK(loop.log.lines()[0].message == "an exception ended this work: no more rabbits");
  CHECK(loop.log.lines()[1].who == "echo");
  CHECK(loop.log.lines()[1].message == "an exception of an unknown type ended this work");
}

TEST_CASE("reactor: an exception of a timer or of posted work does not end the loop") {
  Loop loop;
  std::string done;
  const Timer bad = loop.reactor.call_later(0, [] { throw std::runtime_error("bad timer"); });
  const Timer good = loop.reactor.call_later(0, [&] { done += "timer "; });
  loop.turn();
  loop.reactor.post([] { throw 1; });
  loop.reactor.post([&] { done += "post"; });
  CHECK(loop.turn_until([&] { return done == "timer post"; }));
  CHECK(loop.log.count("bad timer") == 1);
  CHECK(loop.log.count("unknown type") == 1);
}

TEST_CASE("reactor: flush_later flushes once at the end of the turn") {
  Loop loop;
  CountingFlush item(loop.reactor);
  const Timer timer = loop.reactor.call_later(0, [&] {
    loop.reactor.flush_later(item);
    CHECK(item.flushes == 0);
  });
  loop.turn();
  CHECK(item.flushes == 1);
  loop.turn(3);
  CHECK(item.flushes == 1);
}

TEST_CASE("reactor: what a flush asks to be flushed waits, so that nobody is starved") {
  Loop loop;
  CountingFlush greedy(loop.reactor);
  greedy.again = 1'000'000;
  loop.reactor.flush_later(greedy);
  bool called = false;
  const Timer timer = loop.reactor.call_later(0, [&] { called = true; });
  loop.turn(4);
  CHECK(called);
  CHECK(greedy.flushes >= 4);
  CHECK(greedy.flushes <= 12);
  loop.reactor.forget(greedy);
}

TEST_CASE("reactor: something to flush keeps a waiting turn from sleeping") {
  testing::RecordingLog log;
  Reactor reactor(log);
  CountingFlush item(reactor);
  item.again = 5;
  item.when_flushed = [&] {
    if (item.flushes == 6) reactor.stop();
  };
  reactor.flush_later(item);
  reactor.run();
  CHECK(item.flushes == 6);
}

TEST_CASE("reactor: what is called before the flushes keeps the next turn from sleeping when it says so") {
  Loop loop;
  std::vector<Reactor::Moment> moments;
  loop.reactor.before_flush([&](Reactor::Moment moment) {
    moments.push_back(moment);
    return moments.size() < 5;
  });
  loop.reactor.turn(true);
  loop.reactor.turn(true);  // with nothing to do both would sleep for ever
  using enum Reactor::Moment;
  CHECK(moments == std::vector{sleep, read, sleep, read});
  loop.reactor.before_flush(nullptr);
}

TEST_CASE("reactor: forget keeps an item from being flushed, also from inside another's flush") {
  Loop loop;
  CountingFlush first(loop.reactor);
  CountingFlush second(loop.reactor);
  CountingFlush third(loop.reactor);
  first.when_flushed = [&] { loop.reactor.forget(second); };
  for (CountingFlush* item : {&first, &second, &third}) loop.reactor.flush_later(*item);
  loop.turn();
  CHECK(first.flushes == 1);
  CHECK(second.flushes == 0);
  CHECK(third.flushes == 1);
}

TEST_CASE("reactor: a handle that was left open at its end is a bug that it names") {
  const tests::ChildEnd end = tests::in_child([] {
    testing::RecordingLog log;
    Reactor reactor(log);
    static uv_timer_t leaked;
    uv_timer_init(reactor.loop(), &leaked);
    uv_timer_start(
        &leaked, [](uv_timer_t*) {}, 1000, 1000);
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.err.find("reactor.cpp") != std::string::npos);
  CHECK(end.err.find("uv_loop_close") != std::string::npos);
}

// ThreadSanitizer does not let a child that was forked beside other threads start threads of its own.
#ifndef __SANITIZE_THREAD__
TEST_CASE("reactor: call_later from a thread that is not the loop's is a bug that it names") {
  const tests::ChildEnd end = tests::in_child([] {
    testing::RecordingLog log;
    Reactor reactor(log);
    reactor.turn(false);
    std::thread([&] { const Timer timer = reactor.call_later(0, [] {}); }).join();
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.err.find("assertion failed") != std::string::npos);
}
#endif

TEST_CASE("watch: calls back while the descriptor is readable, and no more once dropped") {
  Loop loop;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const Fd read_end(ends[0]);
  const Fd write_end(ends[1]);
  int calls = 0;
  auto watch = std::make_unique<Watch>(loop.reactor, read_end.get(), [&] { ++calls; });
  loop.turn(3);
  CHECK(calls == 0);
  REQUIRE(::write(write_end.get(), "x", 1) == 1);
  CHECK(loop.turn_until([&] { return calls >= 2; }));
  watch.reset();
  const int before = calls;
  loop.turn(3);
  CHECK(calls == before);
}
