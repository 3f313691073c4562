#include "services/committer.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <optional>
#include <vector>

#include "services/net/refusal.hpp"
#include "tests/services/committer_world.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

using World = CommitterWorld;

}  // namespace

TEST_CASE("committer: a change is durable at the end of its turn, and the gate lets out what waited for it") {
  World world;
  net::Gate& gate = *world.committer->gate(0);
  CHECK_FALSE(gate.closed());
  world.first.record(Probed{});
  world.first.record(Probed{});
  world.second.record(Probed{});
  CHECK(gate.closed());
  CHECK(world.committer->last_lsn() == 3);
  CHECK(world.committer->durable_lsn() == 0);
  world.loop.turn();
  CHECK_FALSE(gate.closed());
  CHECK(world.committer->durable_lsn() == 3);
  CountingSink sink = world.replayed();
  CHECK(sink.changes["first"] == 2);
  CHECK(sink.changes["second"] == 1);
  CHECK(world.last.batches == 1);
  CHECK(world.last.last_lsn == 3);
}

TEST_CASE("committer: a turn without changes writes nothing") {
  World world;
  std::atomic<int> calls = 0;
  world.loop.turn(3);
  world.disk.hook = [&](const std::string& operation, const std::string& name) {
    // The spare segment is made by a thread of its own, whenever it likes.
    if (operation == "write" && name.find("-spare1") != std::string::npos) ++calls;
    return 0;
  };
  world.loop.turn(10);
  CHECK(calls == 0);
  CHECK(world.replayed().changes.empty());
}

TEST_CASE("committer: an updated state is recorded as a whole, once per batch and with the changes beside it") {
  World world;
  world.first.record(Probed{});
  world.first.update([](ProbeState& state) { state.count += 10; });
  world.first.update([](ProbeState& state) { state.count += 100; });
  world.first.record(Probed{});
  world.second.record(Probed{});
  CHECK(world.committer->last_lsn() == 5);
  world.loop.turn();
  CountingSink sink = world.replayed();
  CHECK(sink.wholes["first"] == "112");
  CHECK(sink.changes["first"] == 1);  // the one before; the one after is in the whole
  CHECK(sink.changes["second"] == 1);
  CHECK(world.last.last_lsn == 5);
  world.first.record(Probed{});  // the next batch describes changes again
  world.loop.turn(2);
  CHECK(world.replayed().changes["first"] == 2);
}

TEST_CASE("committer: after a quiet while a barrier proves that the last batch was durable, and only one") {
  World world;
  std::vector<std::string> writes;
  world.first.record(Probed{});
  world.loop.turn(2);
  world.disk.hook = [&](const std::string& operation, const std::string& name) {
    if (operation == "write" && name.find("-spare1") != std::string::npos) writes.push_back(name);
    return 0;
  };
  world.loop.clock.advance(Committer::kBarrierMs);
  world.loop.turn(3);
  CHECK(writes.size() == 1);
  world.loop.clock.advance(10 * Committer::kBarrierMs);
  world.loop.turn(3);
  CHECK(writes.size() == 1);
  CHECK(world.replayed().changes["first"] == 1);
}

TEST_CASE("committer: with durability interval replies leave at once, and changes are written when the time is over") {
  World world(Committer::Place::loop, {Durability::Mode::interval, 1000}, kStrict);
  CHECK(world.committer->gate(0) == nullptr);
  world.first.record(Probed{});
  world.loop.turn(3);
  CHECK(world.replayed().changes["first"] == 0);
  world.loop.clock.advance(999);
  world.loop.turn(3);
  CHECK(world.replayed().changes["first"] == 0);
  CHECK_FALSE(world.committer->gate(1)->closed());  // the strict service waits for none of it
  world.loop.clock.advance(1);
  world.loop.turn(3);
  CHECK(world.replayed().changes["first"] == 1);
  world.first.record(Probed{});
  world.second.record(Probed{});  // a strict change takes the others along
  world.loop.turn();
  CHECK(world.replayed().changes["first"] == 2);
}

TEST_CASE("committer: with durability reserve a service waits for its own reservations only") {
  World world(Committer::Place::thread, {Durability::Mode::reserve, 0}, kStrict);
  Barrier slow;
  world.loop.turn(3);
  world.sync_through(slow);
  slow.close();
  world.second.record(Probed{});
  world.loop.turn(3);
  CHECK(world.committer->gate(1)->closed());
  CHECK_FALSE(world.committer->gate(0)->closed());
  world.first.record(Probed{});
  CHECK(world.committer->gate(0)->closed());
  slow.open();
  CHECK(world.loop.turn_until([&] { return !world.committer->gate(0)->closed(); }));
}

TEST_CASE("committer: while one batch is synced in the thread the next one fills, and neither leaves early") {
  World world(Committer::Place::thread);
  Barrier slow;
  world.loop.turn(3);
  world.sync_through(slow);
  slow.close();
  world.first.record(Probed{});
  world.loop.turn(3);
  for (int i = 0; i < 5; ++i) {
    world.first.record(Probed{});
    world.loop.turn(2);
  }
  CHECK(world.committer->gate(0)->closed());
  CHECK(world.committer->durable_lsn() == 0);
  CHECK(world.committer->last_lsn() == 6);
  slow.open();
  CHECK(world.loop.turn_until([&] { return world.committer->durable_lsn() == 6; }));
  CHECK(world.replayed().changes["first"] == 6);
  CHECK(world.last.batches == 2);
}

TEST_CASE(
    "committer: a failed sync breaks it: nothing passes, nothing more is written or synced, and it is told once") {
  for (const Committer::Place place : {Committer::Place::loop, Committer::Place::thread}) {
    World world(place);
    int calls_after = 0;
    bool failed = false;
    world.loop.turn(3);
    world.disk.hook = [&](const std::string& operation, const std::string& name) {
      if (name.find("-spare1") == std::string::npos) return 0;  // the present segment, by the name it was made with
      if (failed) ++calls_after;
      if (operation == "sync") failed = true;
      return operation == "sync" ? EIO : 0;
    };
    world.first.record(Probed{});
    CHECK(world.loop.turn_until([&] { return !world.broken.empty(); }));
    CHECK(world.broken.find("Input/output error") != std::string::npos);
    CHECK(world.committer->gate(0)->closed());
    CHECK_THROWS_AS(world.first.record(Probed{}), net::Refusal);
    world.loop.clock.advance(10 * Committer::kRetryMs);
    world.loop.turn(10);
    CHECK_FALSE(world.committer->close().ok());
    CHECK(calls_after == 0);
    CHECK(world.committer->gate(0)->closed());
  }
}

TEST_CASE("committer: a full disk while a batch is written holds it, refuses more, and goes on by itself") {
  for (const Committer::Place place : {Committer::Place::loop, Committer::Place::thread}) {
    World world(place);
    std::atomic<bool> full{true};
    world.loop.turn(3);
    world.disk.hook = [&](const std::string& operation, const std::string&) {
      return operation == "write" && full ? ENOSPC : 0;
    };
    world.first.record(Probed{});
    CHECK(world.loop.turn_until([&] { return world.committer->refuses(); }));
    CHECK_THROWS_WITH_AS(world.first.record(Probed{}), "the disk is full", net::Refusal);
    CHECK(world.first->count == 1);
    CHECK(world.committer->gate(0)->closed());
    for (int i = 0; i < 3; ++i) {
      world.loop.clock.advance(Committer::kRetryMs);
      CHECK(world.loop.turn_until([&] { return world.committer->refuses(); }));
    }
    CHECK(world.loop.log.count("the disk is full") == 1);
    full = false;
    CHECK(world.loop.turn_until([&] {
      world.loop.clock.advance(Committer::kRetryMs);
      return !world.committer->refuses();
    }));
    CHECK(world.loop.turn_until([&] { return !world.committer->gate(0)->closed(); }));
    CHECK(world.loop.log.count("there is room on the disk again") == 1);
    world.first.record(Probed{});
    CHECK(world.loop.turn_until([&] { return world.committer->durable_lsn() == 2; }));
    CHECK(world.broken.empty());
    CHECK(world.replayed().changes["first"] == 2);
  }
}

TEST_CASE("committer: a disk without room for the next segment is met before a change, not in a commit") {
  World world;
  world.loop.turn(3);
  std::atomic<bool> full{true};
  world.disk.hook = [&](const std::string& operation, const std::string&) {
    return operation == "create" && full ? ENOSPC : 0;
  };
  int given = 0;
  const auto fill = [&] {
    for (; given < 100'000; ++given) {
      world.first.record(Probed{});
      world.loop.turn();
    }
  };
  CHECK_THROWS_AS(fill(), net::Refusal);
  CHECK(given > 500);  // the segment, and the one that was ready, were used up
  CHECK_FALSE(world.committer->gate(0)->closed());
  CHECK(world.replayed().changes["first"] == given);
  full = false;
  CHECK(world.loop.turn_until([&] {
    world.loop.clock.advance(Committer::kRetryMs);
    return !world.committer->refuses();
  }));
  world.first.record(Probed{});
  world.loop.turn();
  CHECK(world.replayed().changes["first"] == given + 1);
}

TEST_CASE("committer: the present segment does not end before what has its room in it") {
  World world(Committer::Place::loop, {Durability::Mode::interval, 1000}, kStrict);
  REQUIRE(world.loop.turn_until([&] { return world.supply.ready_bytes() != 0; }));
  world.disk.hook = [&](const std::string& operation, const std::string&) {
    return operation == "create" ? ENOSPC : 0;
  };
  while (world.supply.ready_bytes() != 0) {
    world.second.record(Probed{});
    world.loop.turn();
  }
  const auto fill = [&] {
    for (;;) world.first.record(Probed{});
  };
  CHECK_THROWS_AS(fill(), net::Refusal);
  REQUIRE(world.committer->disk_full());
  REQUIRE(world.committer->last_lsn() > world.committer->durable_lsn());
  CHECK_FALSE(world.committer->end_segment());
  world.loop.turn(3);  // what keeps the segment from ending does not wait for its time
  CHECK(world.committer->durable_lsn() == world.committer->last_lsn());
  std::optional<std::uint64_t> until;
  CHECK(world.loop.turn_until([&] { return (until = world.committer->end_segment()).has_value(); }));
  CHECK(until == world.committer->last_lsn());
}

TEST_CASE("committer: a segment ends between two batches, although one is in flight whenever that is asked for") {
  World world(Committer::Place::thread);
  REQUIRE(world.loop.turn_until([&] { return world.supply.ready_bytes() != 0; }));
  Barrier slow;
  world.sync_through(slow);
  slow.close();
  world.first.record(Probed{});
  world.loop.turn(3);
  world.first.record(Probed{});
  CHECK_FALSE(world.committer->end_segment());
  slow.open();
  CHECK(world.loop.turn_until([&] { return world.committer->durable_lsn() == 2; }));
  CHECK(world.committer->end_segment() == 1);
  CHECK(world.replayed().changes["first"] == 2);
}

TEST_CASE("committer: a batch of many changes makes room a few times, not for every change") {
  World world(Committer::Place::loop, Durability{Durability::Mode::interval, 3'600'000});
  int made = 0;
  world.disk.hook = [&made](const std::string& operation, const std::string&) {
    if (operation == "create") ++made;
    return 0;
  };
  const std::size_t changes = 2'000'000;  // of nine bytes: more than four segments in one batch
  for (std::size_t i = 0; i < changes; ++i) world.first.record(Probed{});
  CHECK(made > 0);
  CHECK(made <= 6);
  REQUIRE(world.committer->close().ok());
  CHECK(world.replayed().changes["first"] == static_cast<int>(changes));
}

TEST_CASE("committer: close makes the rest durable and seals the journal") {
  for (const Committer::Place place : {Committer::Place::loop, Committer::Place::thread}) {
    World world(place);
    world.first.record(Probed{});
    world.loop.turn();
    world.first.record(Probed{});
    REQUIRE(world.committer->close().ok());
    CHECK(world.replayed().changes["first"] == 2);
    CHECK(world.last.sealed);
    CHECK_THROWS_AS(world.first.record(Probed{}), net::Refusal);
  }
}

TEST_CASE("committer: without a close the journal is not sealed") {
  World world;
  world.first.record(Probed{});
  world.loop.turn();
  world.committer.reset();
  world.first.attach(nullptr);
  world.second.attach(nullptr);
  CHECK(world.replayed().changes["first"] == 1);
  CHECK_FALSE(world.last.sealed);
}
