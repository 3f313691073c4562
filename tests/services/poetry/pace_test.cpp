// Pace, on a loop whose time moves when it is told.
#include "services/poetry/pace.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <vector>

#include "services/testing/test_loop.hpp"

using tap::services::Pace;
using tap::testing::TestLoop;

namespace {

struct Runner final : public Pace::Member {
  explicit Runner(TestLoop& its) : loop(its) {}
  void take_turn() override {
    turns.push_back(loop.clock.now_ms());
    if (also) also();
  }
  TestLoop& loop;
  std::vector<std::uint64_t> turns;
  std::function<void()> also;
};

}  // namespace

TEST_CASE("pace: a member has its turns an interval apart, on a grid that does not drift") {
  TestLoop loop;
  Pace pace(loop.reactor, 700);
  Runner runner(loop);
  const std::uint64_t began = loop.clock.now_ms();
  pace.join(runner);
  loop.advance(70'000, 1);
  CHECK(runner.turns.size() == 100);
  for (std::size_t i = 0; i < runner.turns.size(); ++i) {
    CHECK(runner.turns[i] >= began + 700 * (i + 1));
    CHECK(runner.turns[i] <= began + 700 * (i + 1) + Pace::kGridMsMax);
  }
  pace.leave(runner);
  CHECK(pace.size() == 0);
}

TEST_CASE("pace: five thousand members, all at once or spread, are each within a fiftieth of the interval") {
  TestLoop loop;
  Pace pace(loop.reactor, 700);
  std::vector<std::unique_ptr<Runner>> runners;
  for (int i = 0; i < 5000; ++i) {
    runners.push_back(std::make_unique<Runner>(loop));
    pace.join(*runners.back());
    if (i >= 2500 && i % 10 == 0) loop.advance(1, 1);
  }
  for (auto& runner : runners) runner->turns.clear();
  loop.advance(7'000, 1);
  std::size_t off = 0;
  for (const auto& runner : runners) {
    if (runner->turns.size() < 9 || runner->turns.size() > 10) ++off;
    for (std::size_t i = 1; i < runner->turns.size(); ++i) {
      const std::uint64_t apart = runner->turns[i] - runner->turns[i - 1];
      // 2,500 who came at once take some turns of the loop, a millisecond each here, the first time.
      if (apart < 700 - 24 || apart > 700 + 24) ++off;
    }
  }
  CHECK(off == 0);
  for (auto& runner : runners) pace.leave(*runner);
}

TEST_CASE("pace: after a loop that was stuck nobody has two turns at once") {
  TestLoop loop;
  Pace pace(loop.reactor, 100);
  Runner first(loop);
  Runner second(loop);
  pace.join(first);
  loop.advance(50);
  pace.join(second);
  loop.clock.advance(5'000);
  loop.turn(5);
  CHECK(first.turns.size() == 1);
  CHECK(second.turns.size() == 1);
  loop.advance(102, 1);
  CHECK(first.turns.size() == 2);
  CHECK(second.turns.size() == 2);
  pace.leave(first);
  pace.leave(second);
}

TEST_CASE("pace: a turn may leave, come back, and make others leave") {
  TestLoop loop;
  Pace pace(loop.reactor, 100);
  Runner leaving(loop);
  Runner other(loop);
  Runner pushed(loop);
  leaving.also = [&] {
    pace.leave(leaving);
    pace.leave(pushed);
  };
  other.also = [&] {
    pace.leave(other);
    pace.join(other);
  };
  pace.join(leaving);
  pace.join(other);
  pace.join(pushed);
  loop.advance(1000, 1);
  CHECK(leaving.turns.size() == 1);
  CHECK(pushed.turns.empty());
  CHECK(other.turns.size() >= 9);
  CHECK(pace.size() == 1);
  pace.leave(other);
  pace.leave(other);  // nothing
}

TEST_CASE("pace: a turn that throws keeps nobody else from theirs, and without members there is no timer") {
  TestLoop loop;
  Pace pace(loop.reactor, 100);
  Runner thrower(loop);
  Runner other(loop);
  thrower.also = [] { throw std::runtime_error("no"); };
  pace.join(thrower);
  pace.join(other);
  loop.advance(500, 1);
  CHECK(other.turns.size() >= 4);
  CHECK(thrower.turns.size() >= 4);
  pace.leave(thrower);
  pace.leave(other);
  CHECK(loop.reactor.backend_timeout_ms() != 0);
  CHECK(loop.reactor.backend_timeout_ms() == -1);
}
