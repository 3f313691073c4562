#include "services/timer_service.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

/// A timer of a second that writes down when it ticks, counted from its start.
struct Ticking {
  Loop loop;
  std::uint64_t began = loop.clock.now_ms();
  std::vector<std::uint64_t> ticked;
  std::uint64_t takes_ms = 0;
  int throwing = 0;
  TimerService timer{"poll", 1000, [this] {
                       ticked.push_back(loop.clock.now_ms() - began);
                       loop.clock.advance(takes_ms);
                       if (throwing > 0) {
                         --throwing;
                         throw std::runtime_error("out of rabbits");
                       }
                     }};

  void pass(std::uint64_t ms, std::uint64_t step) {
    for (std::uint64_t gone = 0; gone < ms; gone += step) {
      loop.clock.advance(step);
      loop.turn(2);
    }
  }
};

using Times = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("timer service: it ticks on its grid, beginning one interval after its start") {
  Ticking ticking;
  REQUIRE(ticking.timer.start(ticking.loop.reactor).ok());
  CHECK(ticking.timer.running());
  ticking.pass(999, 333);
  CHECK(ticking.ticked.empty());
  ticking.pass(3000, 1);
  CHECK(ticking.ticked == Times{1000, 2000, 3000});
  CHECK(ticking.timer.skipped() == 0);
  CHECK(ticking.timer.status() == std::vector<std::string>{"poll: every 1s, 3 ticks, 0 skipped, 0 exceptions"});
}

TEST_CASE("timer service: ticks that come late do not move the grid") {
  Ticking ticking;
  REQUIRE(ticking.timer.start(ticking.loop.reactor).ok());
  ticking.pass(3500, 700);  // 700, 1400, 2100, 2800, 3500
  CHECK(ticking.ticked == Times{1400, 2100, 3500});
  CHECK(ticking.timer.skipped() == 0);
}

TEST_CASE("timer service: what was missed is skipped and counted, not made up for") {
  Ticking ticking;
  REQUIRE(ticking.timer.start(ticking.loop.reactor).ok());
  ticking.pass(5200, 5200);
  CHECK(ticking.ticked == Times{5200});
  CHECK(ticking.timer.skipped() == 4);  // 1000 to 4000; the one of 5000 came late
  ticking.pass(800, 100);
  CHECK(ticking.ticked == Times{5200, 6000});
}

TEST_CASE("timer service: a tick that takes longer than the interval skips what it overslept") {
  Ticking ticking;
  ticking.takes_ms = 2500;
  REQUIRE(ticking.timer.start(ticking.loop.reactor).ok());
  ticking.pass(1000, 1000);
  CHECK(ticking.timer.skipped() == 2);  // 2000 and 3000
  ticking.takes_ms = 0;
  ticking.pass(1500, 100);
  CHECK(ticking.ticked == Times{1000, 4000, 5000});
}

TEST_CASE("timer service: an exception ends its tick only, and more of them leave out more") {
  Ticking ticking;
  const net::Reactor::Account account = ticking.loop.reactor.open_account("served");
  ticking.throwing = 3;
  {
    const net::Reactor::Charge charge(ticking.loop.reactor, account);
    REQUIRE(ticking.timer.start(ticking.loop.reactor).ok());
  }
  ticking.pass(1000, 500);
  CHECK(ticking.timer.status() ==
        std::vector<std::string>{"poll: every 1s, 0 ticks, 0 skipped, 1 exceptions, leaving out 1 after the last one"});
  ticking.pass(15'000, 500);
  // Left out: one, three, seven; then one goes well, and the next is the next.
  CHECK(ticking.ticked == Times{1000, 3000, 7000, 15'000, 16'000});
  CHECK(ticking.timer.exceptions() == 3);
  CHECK(ticking.timer.skipped() == 0);
  CHECK(ticking.loop.log.count("out of rabbits") == 3);
  CHECK(ticking.loop.log.lines()[0].who == "served");
  CHECK(ticking.loop.reactor.exceptions(account) == 3);
}

TEST_CASE("timer service: what is left out has an end") {
  Ticking ticking;
  ticking.throwing = 1000;
  REQUIRE(ticking.timer.start(ticking.loop.reactor).ok());
  ticking.pass(400'000, 1000);
  const std::size_t count = ticking.ticked.size();
  REQUIRE(count > 8);
  CHECK(ticking.ticked[count - 1] - ticking.ticked[count - 2] == (TimerService::kBackoffTicksMax + 1) * 1000);
}

TEST_CASE("timer service: stopped, also by its own tick, it ticks no more; started again, it has a new grid") {
  Ticking ticking;
  REQUIRE(ticking.timer.start(ticking.loop.reactor).ok());
  ticking.pass(1000, 1000);
  ticking.timer.stop();
  ticking.pass(3500, 500);
  CHECK(ticking.ticked == Times{1000});
  CHECK(ticking.timer.status()[0].find("stopped") != std::string::npos);
  REQUIRE(ticking.timer.start(ticking.loop.reactor).ok());
  ticking.pass(1000, 500);
  CHECK(ticking.ticked == Times{1000, 5500});

  Loop loop;
  int ticks = 0;
  TimerService* self = nullptr;
  TimerService once("once", 10, [&] {
    ++ticks;
    self->stop();
  });
  self = &once;
  REQUIRE(once.start(loop.reactor).ok());
  for (int i = 0; i < 10; ++i) {
    loop.clock.advance(10);
    loop.turn(2);
  }
  CHECK(ticks == 1);
  CHECK_FALSE(once.running());
}
