#include "services/committer.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>

#include "services/net/refusal.hpp"
#include "state/archive.hpp"
#include "state/store.hpp"
#include "tests/services/barrier.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/services/probe.hpp"
#include "tests/state/hooked_disk.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

/// Counts what is replayed.
class CountingSink final : public state::ReplaySink {
 public:
  Result<void> replay(const state::Introduction& of, state::RecordType type, ByteView payload) override {
    if (type == state::RecordType::whole) wholes[of.service] = std::string(payload);
    else ++changes[of.service];
    return {};
  }
  std::map<std::string, int> changes;
  std::map<std::string, std::string> wholes;
};

const ProbeCodec kCodec;
constexpr Durability kStrict{Durability::Mode::strict, 0};

/// Two states with a journal, on a real directory with hooks.
struct World {
  TemporaryDirectory directory;
  HookedDisk disk{directory.path()};
  Loop loop;
  state::SegmentSupply supply{disk, "Test"};
  state::Lineage lineage = state::Lineage::make();
  StateCell<ProbeState> first{kCodec};
  StateCell<ProbeState> second{kCodec};
  std::unique_ptr<Committer> committer;
  std::string broken;

  explicit World(Committer::Place place = Committer::Place::loop, Durability of_first = kStrict,
                 Durability of_second = kStrict) {
    Result<std::unique_ptr<state::JournalWriter>> writer = state::JournalWriter::open(
        disk, supply, {"Test", lineage, 1, 0, 0, {{2, "first", "probe"}, {2, "second", "probe"}}});
    REQUIRE(writer.ok());
    committer = std::make_unique<Committer>(
        loop.reactor, supply, std::move(writer).value(), [this](const Error& error) { broken = error.message; }, place);
    committer->add(0, first, of_first);
    committer->add(1, second, of_second);
  }
  ~World() {
    committer.reset();
    first.attach(nullptr);
    second.attach(nullptr);
  }
  /// Each sync waits while `slow` is closed. Lifetime: of `slow`: as long as something may be written.
  void sync_through(Barrier& slow) {
    disk.hook = [&slow](const std::string& operation, const std::string&) {
      if (operation == "sync") slow.pass();
      return 0;
    };
  }
  /// What another process would find now.
  CountingSink replayed() {
    CountingSink sink;
    Result<state::JournalEnd> end = state::read_journal(disk, lineage, 0, &sink);
    REQUIRE_MESSAGE(end.ok(), (end.ok() ? "" : end.error().message));
    last = std::move(end).value();
    return sink;
  }
  state::JournalEnd last;
};

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
