// Which archive counts: how a given one stands to the store, and what --rewind does.
#include <doctest/doctest.h>

#include "state/store.hpp"
#include "tests/state/archive_equal.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/says.hpp"
#include "tests/state/store_fixture.hpp"

using tap::Bytes;
using tap::state::Archive;
using tap::state::archive_digest;
using tap::state::Digest;
using tap::state::encode_archive;
using tap::state::Lineage;
using tap::state::make_ancestor;
using tap::state::Relation;
using tap::state::sha256;
using tap::state::Store;
using tap::state::StoredArchive;
using tap::state::successor;
using tap::tests::generation;
using tap::tests::generation_bytes;
using tap::tests::names;
using tap::tests::Snapshot;
using tap::tests::StoreDirectory;

using Names = std::vector<std::string>;
using Present = std::optional<StoredArchive>;

namespace {

Digest digest_of(const Archive& archive) { return archive_digest(encode_archive(archive)); }

Present stored(const Archive& archive) { return StoredArchive{archive, digest_of(archive), "x"}; }

Relation relation(const Present& present, const Archive& archive) {
  return Store::relation(present, archive, digest_of(archive));
}

/// Saves the successors of what is in the store up to this generation.
void go_on_to(StoreDirectory& dir, std::uint64_t number) {
  for (;;) {
    const auto loaded = dir.store.load();
    REQUIRE(loaded.ok());
    REQUIRE(loaded->has_value());
    if ((*loaded)->archive.generation >= number) return;
    REQUIRE(dir.store.save(successor((*loaded)->archive, (*loaded)->digest)).ok());
  }
}

}  // namespace

TEST_CASE("relation: an empty store takes anything") {
  CHECK(relation(std::nullopt, generation(7)) == Relation::store_is_empty);
}

TEST_CASE("relation: the same bytes are the present archive") {
  CHECK(relation(stored(generation(7)), generation(7)) == Relation::present);
}

TEST_CASE("relation: an earlier archive of the lineage is an ancestor, by generation and digest") {
  const Archive first = generation(7);
  const Archive second = successor(first, digest_of(first));
  const Archive third = successor(second, digest_of(second));
  CHECK(relation(stored(third), first) == Relation::ancestor);
  CHECK(relation(stored(third), second) == Relation::ancestor);
  CHECK(relation(stored(second), first) == Relation::ancestor);
}

TEST_CASE("relation: the same generation with other content is unrelated, in the present and in the past") {
  const Archive first = generation(7);
  Archive twin = first;
  twin.sections[0].payload += "!";
  const Archive second = successor(first, digest_of(first));
  CHECK(relation(stored(first), twin) == Relation::unrelated);
  CHECK(relation(stored(second), twin) == Relation::unrelated);
  Archive misnumbered = first;
  misnumbered.generation = 6;
  CHECK(Store::relation(stored(second), misnumbered, digest_of(first)) == Relation::unrelated);
}

TEST_CASE("relation: a newer archive of the lineage is unrelated") {
  const Archive first = generation(7);
  const Archive second = successor(first, digest_of(first));
  CHECK(relation(stored(first), second) == Relation::unrelated);
}

TEST_CASE("relation: another lineage is unrelated, even if it is listed among the ancestors") {
  const Archive first = generation(7);
  Archive stranger = first;
  stranger.lineage = Lineage::make();
  CHECK(relation(stored(first), stranger) == Relation::unrelated);
  Archive liar = successor(first, digest_of(first));
  liar.ancestors.push_back(make_ancestor(stranger.generation, digest_of(stranger)));
  CHECK(relation(stored(liar), stranger) == Relation::unrelated);
}

TEST_CASE("relation: the archive that a lineage was started from is an ancestor, others of its lineage are not") {
  const Archive old = generation(7);
  const Archive newer = successor(old, digest_of(old));
  Archive child = old;
  child.lineage = Lineage::make();
  child.parent = old.lineage;
  child.parent_generation = old.generation;
  child.parent_digest = digest_of(old);
  child.generation = 9;
  child.ancestors.clear();
  CHECK(relation(stored(child), old) == Relation::ancestor);
  CHECK(relation(stored(child), newer) == Relation::unrelated);
  const Archive grandchild = successor(child, digest_of(child));
  CHECK(relation(stored(grandchild), old) == Relation::ancestor);
  CHECK(relation(stored(grandchild), child) == Relation::ancestor);
}

TEST_CASE("relation: after 300 generations the first and the newest are still known") {
  const Archive first = generation(1);
  Archive newest = first;
  std::vector<Archive> all;
  for (int i = 0; i < 300; ++i) {
    all.push_back(newest);
    newest = successor(newest, digest_of(newest));
  }
  const Present present = stored(newest);
  CHECK(relation(present, first) == Relation::unrelated);  // sample_archive() has two older ancestors of its own
  CHECK(relation(present, all.back()) == Relation::ancestor);
  CHECK(relation(present, all[299 - 253]) == Relation::ancestor);
  CHECK(newest.ancestors.front() == generation(1).ancestors.front());
}

TEST_CASE("rewind: everything is moved aside, nothing is deleted, and a child lineage starts above all generations") {
  StoreDirectory dir;
  REQUIRE(dir.store.save(generation(7)).ok());
  go_on_to(dir, 9);
  const Snapshot before = dir.files();
  const Archive old = generation(7);
  const auto child = dir.store.rewind(old, digest_of(old));
  REQUIRE(child.ok());
  CHECK(child->archive.generation == 10);
  CHECK(child->archive.lineage != old.lineage);
  CHECK_FALSE(child->archive.lineage.none());
  CHECK(child->archive.parent == old.lineage);
  CHECK(child->archive.parent_generation == 7);
  CHECK(child->archive.parent_digest == digest_of(old));
  CHECK(child->archive.ancestors.empty());
  CHECK(child->archive.definition == old.definition);
  CHECK(child->archive.sections == old.sections);
  CHECK(names(dir.files()) ==
        Names{"Sample-10.tap", "quarantine/", "quarantine/Sample-8.tap", "quarantine/Sample-9.tap"});
  for (const char* name : {"Sample-8.tap", "Sample-9.tap"}) {
    CHECK((dir.read(std::string("quarantine/") + name) == before.at(name)));
  }
  const Names report = dir.store.take_report();
  REQUIRE(report.size() == 2);
  CHECK(report[0] == "moved Sample-9.tap to quarantine/Sample-9.tap: --rewind chose an older archive");
  const auto loaded = dir.store.load();
  REQUIRE(loaded.ok());
  CHECK((*loaded)->digest == child->digest);
  CHECK(Store::relation(*loaded, old, digest_of(old)) == Relation::ancestor);
}

TEST_CASE("rewind: an archive newer than the store starts above itself") {
  StoreDirectory dir;
  REQUIRE(dir.store.save(generation(7)).ok());
  const auto child = dir.store.rewind(generation(50), digest_of(generation(50)));
  REQUIRE(child.ok());
  CHECK(child->archive.generation == 51);
}

TEST_CASE("rewind: an empty store gets the child alone") {
  StoreDirectory dir;
  const auto child = dir.store.rewind(generation(7), digest_of(generation(7)));
  REQUIRE(child.ok());
  CHECK(names(dir.files()) == Names{"Sample-8.tap"});
}

TEST_CASE("rewind: a store whose newest archive is damaged is left behind too, damage and all") {
  StoreDirectory dir;
  dir.put("Sample-7.tap", generation_bytes(7));
  dir.put("Sample-8.tap", tap::tests::damaged_bytes(8));
  dir.put("Sample-9.tap", tap::tests::newer_format_bytes(9));
  const auto child = dir.store.rewind(generation(7), digest_of(generation(7)));
  REQUIRE(child.ok());
  CHECK(child->archive.generation == 10);
  CHECK(names(dir.files()) == Names{"Sample-10.tap", "quarantine/", "quarantine/Sample-7.tap",
                                    "quarantine/Sample-8.tap", "quarantine/Sample-9.tap"});
  CHECK((dir.read("quarantine/Sample-8.tap") == tap::tests::damaged_bytes(8)));
}

TEST_CASE("rewind: twice to the same archive keeps both pasts, each under a name of its own") {
  StoreDirectory dir;
  REQUIRE(dir.store.save(generation(7)).ok());
  dir.put("quarantine.not", "");
  const Bytes seven = generation_bytes(7);
  REQUIRE(dir.store.rewind(generation(7), archive_digest(seven)).ok());
  const Bytes eight = dir.read("Sample-8.tap");
  dir.put("Sample-7.tap", "a stray file of an old name");
  REQUIRE(dir.store.rewind(generation(7), archive_digest(seven)).ok());
  CHECK((dir.read("quarantine/Sample-7.tap") == seven));
  CHECK(dir.read("quarantine/Sample-7.tap.1") == "a stray file of an old name");
  CHECK((dir.read("quarantine/Sample-8.tap") == eight));
  const auto loaded = dir.store.load();
  REQUIRE(loaded.ok());
  CHECK((*loaded)->archive.generation == 9);
}

TEST_CASE("rewind: a crash before anything was moved leaves the child as the newest") {
  StoreDirectory dir;
  REQUIRE(dir.store.save(generation(7)).ok());
  REQUIRE(dir.store.save(generation(8)).ok());
  const auto child = dir.store.rewind(generation(7), digest_of(generation(7)));
  REQUIRE(child.ok());
  StoreDirectory crashed;
  crashed.put("Sample-7.tap", generation_bytes(7));
  crashed.put("Sample-8.tap", generation_bytes(8));
  crashed.put(child->file, dir.read(child->file));
  const auto loaded = crashed.store.load();
  REQUIRE(loaded.ok());
  CHECK((*loaded)->digest == child->digest);
}
