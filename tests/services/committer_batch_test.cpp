// When a batch goes to the disk, and where it is synced.
#include "services/committer.hpp"

#include <doctest/doctest.h>

#include <chrono>

#include "tests/services/committer_world.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

using World = CommitterWorld;

}  // namespace

TEST_CASE("committer: a batch waits for as many changes as the last ones had, until a turn brings nothing more") {
  World world;
  const auto record = [&](int times) {
    for (; times > 0; --times) world.first.record(Probed{});
    world.loop.turn();
    return world.committer->durable_lsn();
  };
  CHECK(record(10) == 10);  // nothing is known yet
  CHECK(record(10) == 20);
  CHECK(record(9) == 20);
  CHECK(record(1) == 30);
  CHECK(record(20) == 50);
  CHECK(record(3) == 50);
  CHECK(record(0) == 53);
  CHECK(world.committer->status().find(" 5 batches") != std::string::npos);
}

TEST_CASE("committer: changes that nobody waits for do not keep those waiting who do") {
  World world(Committer::Place::loop, kStrict, {Durability::Mode::interval, 1000});
  const auto turn_with = [&](int strict, int interval) {
    for (; strict > 0; --strict) world.first.record(Probed{});
    for (; interval > 0; --interval) world.second.record(Probed{});
    world.loop.turn();
    return world.committer->last_lsn() - world.committer->durable_lsn();
  };
  CHECK(turn_with(1, 5000) == 0);
  CHECK(turn_with(1, 5000) == 0);
  CHECK(turn_with(1, 1) == 0);
  CHECK(turn_with(4, 0) == 0);
  CHECK(turn_with(1, 1) == 2);  // half of the last two had four
  CHECK(turn_with(0, 1) == 0);
}

TEST_CASE("committer: a batch waits for more for a while only, though somebody comes in every turn") {
  World world;
  for (int batches = 0; batches < 2; ++batches) {
    for (int asked = 0; asked < 100; ++asked) world.first.record(Probed{});
    world.loop.turn();
  }
  REQUIRE(world.committer->durable_lsn() == 200);
  for (int turns = 0; turns < 50; ++turns) {
    world.first.record(Probed{});
    world.loop.turn();
  }
  CHECK(world.committer->durable_lsn() == 200);
  world.loop.clock.advance(1000);  // far more than three times what a sync takes
  world.first.record(Probed{});
  world.loop.turn();
  CHECK(world.committer->durable_lsn() == 251);
}

TEST_CASE("committer: a batch of many bytes waits for nobody") {
  World world(Committer::Place::loop, kStrict, {Durability::Mode::interval, 1000});
  for (int batches = 0; batches < 2; ++batches) {
    for (int asked = 0; asked < 10; ++asked) world.first.record(Probed{});
    world.loop.turn();
  }
  REQUIRE(world.committer->durable_lsn() == 20);
  const std::uint64_t changes = Committer::kEnoughBytes / state::kRecordHeaderBytes;
  for (std::uint64_t change = 0; change < changes; ++change) world.second.record(Probed{});
  world.first.record(Probed{});
  world.loop.turn();
  CHECK(world.committer->durable_lsn() == 21 + changes);
}

TEST_CASE("committer: a loop that is driven from outside does not sleep while a batch waits for more") {
  World world;
  net::Reactor& reactor = world.loop.reactor;
  for (int batches = 0; batches < 2; ++batches) {
    for (int asked = 0; asked < 10; ++asked) world.first.record(Probed{});
    world.loop.turn();
  }
  REQUIRE(world.committer->durable_lsn() == 20);
  reactor.post([&] { world.first.record(Probed{}); });  // comes in the middle of a turn, as what is read does
  reactor.turn(false);
  CHECK(world.committer->durable_lsn() == 20);
  CHECK(reactor.backend_timeout_ms() == 0);
  reactor.turn(false);
  CHECK(world.committer->durable_lsn() == 21);
}

TEST_CASE("committer: who asks alone waits for nobody") {
  World world;
  for (std::uint64_t asked = 1; asked < 10; ++asked) {
    world.first.record(Probed{});
    world.loop.turn();
    CHECK(world.committer->durable_lsn() == asked);
  }
}

TEST_CASE("committer: a slow disk moves the sync to a thread, so that the loop goes on; a fast one brings it back") {
  World world(Committer::Place::adaptive);
  world.loop.turn(3);
  CHECK(world.committer->status().find("in the loop") != std::string::npos);
  world.disk.hook = [&](const std::string& operation, const std::string&) {
    if (operation != "sync") return 0;
    // A slow disk takes its time: this is the thing under test, not a wait.
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(40);
    while (std::chrono::steady_clock::now() < end) continue;
    return kPretend;
  };
  world.first.record(Probed{});
  CHECK(world.loop.turn_until([&] { return world.committer->durable_lsn() == 1; }));
  CHECK(world.committer->status().find("in the thread") != std::string::npos);
  world.first.record(Probed{});
  world.loop.turn();
  CHECK(world.committer->durable_lsn() == 1);  // the turn did not wait for it
  CHECK(world.loop.turn_until([&] { return world.committer->durable_lsn() == 2; }));
  world.disk.hook = [](const std::string& operation, const std::string&) { return operation == "sync" ? kPretend : 0; };
  CHECK(world.loop.turn_until([&] {
    if (!world.committer->gate(0)->closed()) world.first.record(Probed{});
    return world.committer->status().find("in the loop") != std::string::npos;
  }));
}

TEST_CASE("committer: on a slow disk the next batch waits a little for those who were just answered") {
  World world(Committer::Place::adaptive);
  world.disk.hook = [&](const std::string& operation, const std::string&) {
    if (operation != "sync") return 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(80);  // as above
    while (std::chrono::steady_clock::now() < end) continue;
    return kPretend;
  };
  std::uint64_t changes = 0;
  const auto record = [&](std::uint64_t times) {
    changes += times;
    for (; times > 0; --times) world.first.record(Probed{});
  };
  const auto all_durable = [&] { return world.committer->durable_lsn() == changes; };
  record(500);
  REQUIRE(world.loop.turn_until(all_durable));
  record(1);
  world.loop.turn(2);  // the next one comes some turns later
  record(1);
  world.loop.clock.advance(10);
  REQUIRE(world.loop.turn_until(all_durable));
  CHECK(world.committer->status().find(" 2 batches") != std::string::npos);
}
