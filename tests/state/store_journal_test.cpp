// A store's archives and journal together: falling back to the older archive, what is tidied away and what is not, and
// what a rewind leaves.
#include <doctest/doctest.h>

#include <algorithm>

#include "state/store.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/journal_fixture.hpp"
#include "tests/state/says.hpp"

using tap::Bytes;
using tap::Fault;
using tap::state::Archive;
using tap::state::Store;
using tap::state::StoredArchive;
using tap::testing::SimulatedDisk;
using tap::tests::error_of;
using tap::tests::Listener;
using tap::tests::patch;
using tap::tests::repair_checksums;
using tap::tests::says;

using Names = std::vector<std::string>;
using Files = std::map<std::string, Bytes>;

namespace {

constexpr std::size_t kSegment = 8192;

/// A store of an application "J" with one service "a", whose archives and journal are written by hand.
struct Written {
  Written() { archive.definition.durability = "strict"; }

  /// Saves a generation with this base, without tidying.
  void save(std::uint64_t base_lsn) {
    archive = stored ? tap::state::successor(stored->archive, stored->digest) : archive;
    archive.base_lsn = base_lsn;
    archive.epoch = epoch;
    auto saved = store.add(archive);
    REQUIRE(saved.ok());
    stored = std::move(saved).value();
    archive = stored->archive;
  }
  void open() {
    auto end = store.replay(stored->archive, nullptr);
    REQUIRE(end.ok());
    epoch = std::max(stored->archive.epoch, end->epoch) + 1;
    supply.emplace(store.disk(), "J", kSegment);
    auto opened = store.start_journal(*supply, stored->archive, *end, epoch, {{1, "a", "kind"}});
    REQUIRE(opened.ok());
    writer = std::move(opened).value();
  }
  void write(const std::string& payload) {
    tap::state::Batch batch;
    batch.first_lsn = writer->last_lsn() + 1;
    batch.lsn_count = 1;
    batch.services = {0};
    tap::state::append_record(batch.records, tap::state::RecordType::change, 0, payload);
    REQUIRE(writer->write(batch).ok());
  }
  /// Generation 1 with nothing, two changes, generation 2 with these, two more changes.
  void two_generations() {
    save(0);
    open();
    write("one");
    write("two");
    save(2);
    writer->end_segment();
    write("three");
    write("four");
  }
  void damage(const std::string& file, std::size_t from_end = 70) {
    Bytes bytes = disk.files().at(file);
    bytes[bytes.size() - from_end] ^= 1;
    disk.put(file, bytes);
  }
  [[nodiscard]] Names heard(const StoredArchive& from) {
    Listener listener;
    REQUIRE(store.replay(from.archive, &listener).ok());
    return listener.heard;
  }

  SimulatedDisk disk;
  Store store{disk.plug_in()};
  Archive archive = [] {
    Archive made;
    made.lineage = tap::tests::test_lineage();
    made.definition.name = "J";
    made.definition.services.push_back({"a", "kind", {}, "", 1, 0, {}});
    made.sections.push_back({"a", "kind", 1, tap::state::PayloadCodec::cereal, "state"});
    return made;
  }();
  std::optional<StoredArchive> stored;
  std::uint64_t epoch = 1;
  std::optional<tap::state::SegmentSupply> supply;
  std::unique_ptr<tap::state::JournalWriter> writer;
};

/// The store refuses, names the older archive, and touches nothing.
void check_refused(Written& given) {
  const Files before = given.disk.files();
  const tap::Error error = error_of(given.store.load());
  CHECK(error.fault == Fault::damaged);
  CHECK(says(error, "The older J-1.tap may be whole"));
  CHECK((given.disk.files() == before));
}

}  // namespace

TEST_CASE("store: a damaged newest archive is replaced by the one before it when the journal leads on") {
  Written given;
  given.two_generations();
  given.damage("J-2.tap");
  const Bytes damaged = given.disk.files().at("J-2.tap");
  const auto loaded = given.store.load();
  REQUIRE(loaded.ok());
  CHECK((*loaded)->archive.generation == 1);
  CHECK(given.heard(**loaded) == Names{"a/2/one", "a/2/two", "a/2/three", "a/2/four"});
  CHECK((given.disk.files().at("quarantine/J-2.tap") == damaged));
  const auto report = given.store.take_report();
  REQUIRE(report.size() == 2);
  CHECK(report[0].find("moved J-2.tap to quarantine/J-2.tap: archive J-2.tap: ") == 0);
  CHECK(report[1] ==
        "archive J-2.tap: the section table is damaged; J-1.tap and the journal since it are used instead: nothing is "
        "lost");
  // Copies of the damaged one may be about: its generation is not given a second time.
  const auto next = given.store.save(successor((*loaded)->archive, (*loaded)->digest));
  REQUIRE(next.ok());
  CHECK(next->archive.generation == 3);
  CHECK(next->file == "J-3.tap");
}

TEST_CASE("store: a look at a store with a damaged newest archive moves nothing") {
  Written given;
  given.two_generations();
  given.damage("J-2.tap");
  const Files before = given.disk.files();
  const auto loaded = given.store.load(true);
  REQUIRE(loaded.ok());
  CHECK((*loaded)->archive.generation == 1);
  CHECK((given.disk.files() == before));
}

TEST_CASE("store: the journal of a clean stop leads on as well") {
  Written given;
  given.save(0);
  given.open();
  given.write("one");
  REQUIRE(given.writer->seal().ok());
  given.save(1);
  given.damage("J-2.tap");
  const auto loaded = given.store.load();
  REQUIRE(loaded.ok());
  CHECK(given.heard(**loaded) == Names{"a/2/one"});
}

TEST_CASE("store: a damaged newest archive is refused when the journal does not reach it") {
  Written given;
  given.save(0);
  given.open();
  given.write("one");
  given.save(2);  // it has one change more than the journal
  given.damage("J-2.tap");
  check_refused(given);
}

TEST_CASE("store: a damaged newest archive is refused when there is no journal, or a segment of it is missing") {
  Written none;
  none.save(0);
  none.save(0);
  none.damage("J-2.tap");
  check_refused(none);
  Written gap;
  gap.two_generations();
  gap.disk.erase("J-1.wal");
  gap.damage("J-2.tap");
  check_refused(gap);
}

TEST_CASE("store: a damaged newest archive is refused when the journal is damaged too") {
  Written given;
  given.two_generations();
  Bytes segment = given.disk.files().at("J-1.wal");
  segment[tap::state::kSegmentDataOffset + 50] ^= 1;
  given.disk.put("J-1.wal", segment);
  given.damage("J-2.tap");
  check_refused(given);
}

TEST_CASE("store: a damaged newest archive is refused when a service's state was not journaled before it was written") {
  // What the older one says of durability is of no help: the config may have changed in between.
  for (const bool own : {false, true}) {
    Written given;
    given.save(0);
    given.open();
    given.write("one");
    REQUIRE(given.writer->seal().ok());
    given.save(1);
    given.disk.erase("J-1.tap");  // two are enough
    (own ? given.archive.definition.services[0].durability : given.archive.definition.durability) = "shutdown";
    given.stored->archive = given.archive;
    given.save(1);
    given.damage("J-3.tap");
    const Files before = given.disk.files();
    CHECK(error_of(given.store.load()).fault == Fault::damaged);
    CHECK((given.disk.files() == before));
  }
}

TEST_CASE("store: a damaged newest archive is refused when it cannot say what it was") {
  // Its header; its definition; all of it.
  for (const std::size_t at : {std::size_t{64}, std::size_t{192 + 45}, std::size_t{0}}) {
    Written given;
    given.save(0);
    given.open();
    given.write("one");
    REQUIRE(given.writer->seal().ok());
    given.save(1);
    Bytes bytes = given.disk.files().at("J-2.tap");
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    given.disk.put("J-2.tap", at == 0 ? Bytes() : bytes);
    check_refused(given);
  }
}

TEST_CASE("store: a newest archive that was cut behind its definition is replaced as well") {
  Written given;
  given.two_generations();
  Bytes bytes = given.disk.files().at("J-2.tap");
  bytes.resize(bytes.size() - 100);
  given.disk.put("J-2.tap", bytes);
  const auto loaded = given.store.load();
  REQUIRE(loaded.ok());
  CHECK((*loaded)->archive.generation == 1);
}

TEST_CASE("store: a journal without any archive is refused, never begun anew") {
  Written given;
  given.two_generations();
  given.disk.erase("J-1.tap");
  given.disk.erase("J-2.tap");
  const Files before = given.disk.files();
  for (const bool look_only : {false, true}) {
    const tap::Error error = error_of(given.store.load(look_only));
    CHECK(error.fault == Fault::damaged);
    CHECK(says(error, "there is a journal (J-1.wal) but no archive"));
  }
  CHECK((given.disk.files() == before));
}

TEST_CASE("store: segments are kept as long as the older of two archives needs them") {
  Written given;
  given.two_generations();
  given.writer->end_segment();
  given.write("five");
  given.store.tidy(2, nullptr);
  CHECK(given.disk.files().count("J-1.wal") == 1);  // generation 1 has nothing of it
  given.save(4);
  given.store.tidy(3, &*given.supply);
  Names names;
  for (const auto& [name, bytes] : given.disk.files()) names.push_back(name);
  CHECK(names == Names{"J-2.tap", "J-3.tap", "J-3.wal", "J-5.wal", "J-spare4.wal.tmp"});
  CHECK(given.heard(*given.stored) == Names{"a/2/five"});
}

TEST_CASE("store: a segment in use is kept beside an empty one of the application's old name") {
  for (const char* old_name : {"A-3.wal", "Z-3.wal"}) {
    Written given;
    given.save(0);
    given.open();
    given.write("one");
    given.write("two");
    REQUIRE(given.writer->seal().ok());
    given.save(2);
    given.open();
    REQUIRE(given.writer->seal().ok());
    given.disk.put(old_name, given.disk.files().at("J-3.wal"));
    given.disk.erase("J-3.wal");
    given.open();
    given.write("three");
    given.save(2);
    given.store.tidy(3, nullptr);
    CHECK(given.disk.files().count("J-1.wal") == 0);
    CHECK(given.heard(*given.stored) == Names{"a/2/three"});
  }
}

TEST_CASE("store: segments of a lineage that a rewind has left are moved aside; without a parent they are refused") {
  Written given;
  given.two_generations();
  const auto first = given.store.load();
  REQUIRE(first.ok());
  // A rewind that was interrupted after its first step: the child is there, nothing has been moved.
  Archive child = given.archive;
  child.lineage.bytes[5] = 'x';
  child.generation = 3;
  SUBCASE("a child") {
    child.parent = given.archive.lineage;
    REQUIRE(given.store.add(child).ok());
    const auto end = given.store.replay(child, nullptr);
    REQUIRE(end.ok());
    REQUIRE(given.store.settle(child, *end).ok());
    CHECK(given.disk.files().count("quarantine/J-1.wal") == 1);
    CHECK(given.disk.files().count("quarantine/J-3.wal") == 1);
    CHECK(given.store.replay(child, nullptr)->segments.empty());
  }
  SUBCASE("a stranger") {
    REQUIRE(given.store.add(child).ok());
    const auto end = given.store.replay(child, nullptr);
    REQUIRE(end.ok());
    const Files before = given.disk.files();
    CHECK(says(error_of(given.store.settle(child, *end)), "belongs to another lineage"));
    CHECK((given.disk.files() == before));
  }
}

TEST_CASE("store: rewinding moves the journal aside too") {
  Written given;
  given.two_generations();
  REQUIRE(given.store.rewind(given.archive, given.stored->digest).ok());
  for (const auto& file : given.disk.files()) {
    const std::string& name = file.first;
    const bool right = name.find("quarantine/") == 0 || name == "J-3.tap" || name.find("-spare") != std::string::npos;
    CHECK_MESSAGE(right, name);
  }
}
