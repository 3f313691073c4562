// What a store does when the world says no in the middle: after each failure the store is as it was.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state/store.hpp"
#include "tests/state/archive_equal.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/says.hpp"
#include "tests/state/store_fixture.hpp"
#include "tests/state/weak.hpp"

using tap::Bytes;
using tap::Error;
using tap::Fault;
using tap::state::Archive;
using tap::state::archive_digest;
using tap::state::encode_archive;
using tap::tests::damaged_bytes;
using tap::tests::equal;
using tap::tests::error_of;
using tap::tests::exists;
using tap::tests::FileSizeLimit;
using tap::tests::generation;
using tap::tests::generation_bytes;
using tap::tests::names;
using tap::tests::says;
using tap::tests::Snapshot;
using tap::tests::StoreDirectory;
using tap::tests::Unprivileged;

using Names = std::vector<std::string>;

namespace {

/// A store with generations 7 and 8.
void fill(StoreDirectory& dir) {
  REQUIRE(dir.store.save(generation(7)).ok());
  REQUIRE(dir.store.save(generation(8)).ok());
}

Archive with_name(const std::string& name) {
  Archive archive = generation(7);
  archive.definition.name = name;
  return archive;
}

}  // namespace

TEST_CASE("store: a disk that is full while saving leaves everything as it was, and the next save works") {
  StoreDirectory dir;
  fill(dir);
  const Snapshot before = dir.files();
  {
    const FileSizeLimit limit(300);
    const Error error = error_of(dir.store.save(generation(9)));
    CHECK(error.fault == Fault::internal);
    CHECK(says(error, "saving generation 9: Sample-9.tap.tmp: writing: "));
    CHECK_FALSE(dir.store.adopt(generation_bytes(10)).ok());
    CHECK_FALSE(dir.store.rewind(generation(7), archive_digest(generation_bytes(7))).ok());
  }
  CHECK((dir.files() == before));
  REQUIRE(dir.store.save(generation(9)).ok());
  CHECK(names(dir.files()) == Names{"Sample-8.tap", "Sample-9.tap"});
}

TEST_CASE("store: a directory that may not be written leaves everything as it was, 77") {
  StoreDirectory dir;
  fill(dir);
  const Snapshot before = dir.files();
  {
    const Unprivileged nobody(dir.directory.path());
    CHECK(error_of(dir.store.save(generation(9))).fault == Fault::permission);
    CHECK(error_of(dir.store.rewind(generation(7), archive_digest(generation_bytes(7)))).fault == Fault::permission);
  }
  CHECK((dir.files() == before));
}

TEST_CASE("store: a directory in the place of the temporary file stops the save, and the store is as it was") {
  StoreDirectory dir;
  fill(dir);
  REQUIRE(::mkdir((dir.directory / "Sample-9.tap.tmp").c_str(), 0700) == 0);
  const Snapshot before = dir.files();
  const Error error = error_of(dir.store.save(generation(9)));
  CHECK(says(error, "saving generation 9: removing an old Sample-9.tap.tmp"));
  CHECK((dir.files() == before));
  CHECK(says(error_of(dir.store.load()), "removing the interrupted write Sample-9.tap.tmp"));
}

TEST_CASE("store: an old archive that cannot be removed is said and does no harm") {
  StoreDirectory dir;
  fill(dir);
  REQUIRE(::mkdir((dir.directory / "Sample-3.tap").c_str(), 0700) == 0);
  REQUIRE(dir.store.save(generation(9)).ok());
  CHECK(dir.store.take_report() == Names{"could not remove the old Sample-3.tap; it does no harm"});
  CHECK(names(dir.files()) == Names{"Sample-3.tap/", "Sample-8.tap", "Sample-9.tap"});
}

TEST_CASE("store: a quarantine that cannot be made stops the load and moves nothing") {
  StoreDirectory dir;
  dir.put("Sample-7.tap", damaged_bytes(7));
  dir.put("Sample-8.tap", generation_bytes(8));
  dir.put("quarantine", "a file");
  const Snapshot before = dir.files();
  CHECK(error_of(dir.store.load()).fault == Fault::cannot_create);
  CHECK((dir.files() == before));
}

TEST_CASE("store: a directory that is gone is an error, not an empty store") {
  StoreDirectory dir;
  tap::state::Store nowhere{tap::Fd(::dup(STDERR_FILENO))};
  CHECK_FALSE(nowhere.load().ok());
  CHECK_FALSE(nowhere.list().ok());
  CHECK_FALSE(nowhere.save(generation(1)).ok());
  CHECK_FALSE(nowhere.rewind(generation(1), {}).ok());
  CHECK_FALSE(nowhere.copy_newest(dir.store.directory(), "x").ok());
  CHECK(dir.files().empty());
}

TEST_CASE("store: whatever point a save was interrupted at, the next start has the old or the new state") {
  // The steps of a save are: a growing temporary file; the whole one; the rename; the removal of what is too old.
  const Bytes whole = generation_bytes(9);
  for (std::size_t written = 0; written <= whole.size(); written += 50) {
    StoreDirectory dir;
    fill(dir);
    dir.put("Sample-9.tap.tmp", whole.substr(0, written));
    CHECK((*dir.store.load())->archive.generation == 8);
    CHECK(names(dir.files()) == Names{"Sample-7.tap", "Sample-8.tap"});
  }
  StoreDirectory renamed;
  fill(renamed);
  renamed.put("Sample-9.tap", whole);
  CHECK((*renamed.store.load())->archive.generation == 9);
  CHECK(names(renamed.files()) == Names{"Sample-7.tap", "Sample-8.tap", "Sample-9.tap"});
  REQUIRE(renamed.store.save(generation(10)).ok());
  CHECK(names(renamed.files()) == Names{"Sample-10.tap", "Sample-9.tap"});
}

TEST_CASE("store: an archive is adopted byte for byte") {
  StoreDirectory dir;
  Bytes bytes = generation_bytes(5);
  tap::tests::patch<std::uint64_t>(bytes, 16, 1);  // a compatible feature, and reserved bytes that a newer one may use
  tap::tests::patch<std::uint64_t>(bytes, 176, 0x1122334455667788);
  tap::tests::repair_checksums(bytes);
  const auto adopted = dir.store.adopt(bytes);
  REQUIRE(adopted.ok());
  CHECK(adopted->digest == archive_digest(bytes));
  CHECK(adopted->file == "Sample-5.tap");
  CHECK((dir.read("Sample-5.tap") == bytes));
  const auto loaded = dir.store.load();
  REQUIRE(loaded.ok());
  CHECK((*loaded)->digest == adopted->digest);
}

TEST_CASE("store: what is no archive is not adopted") {
  StoreDirectory dir;
  for (const Bytes& bytes : {Bytes(), Bytes("text"), damaged_bytes(5), tap::tests::newer_format_bytes(5)}) {
    const Error error = error_of(dir.store.adopt(bytes));
    CHECK((error.fault == Fault::damaged || error.fault == Fault::config));
    CHECK(says(error, "taking the archive into the store: "));
  }
  CHECK(dir.files().empty());
}

TEST_CASE("store: an archive whose name would lead out of the store is refused, and nothing is written") {
  StoreDirectory outer;
  REQUIRE(::mkdir((outer.directory / "store").c_str(), 0700) == 0);
  auto inside =
      tap::state::Store(tap::Fd(::open((outer.directory / "store").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  const std::vector<std::string> evil{
      "../escaped",           outer.directory / "escaped", "sub/x",    "", ".", ".hidden",
      std::string("a\0b", 3), std::string(300, 'n'),       "new\nline"};
  for (const std::string& name : evil) {
    const Archive archive = with_name(name);
    const Bytes bytes = encode_archive(archive);
    CHECK_MESSAGE(error_of(inside.adopt(bytes)).fault != Fault::usage, name);
    CHECK_MESSAGE(error_of(inside.save(archive)).fault != Fault::usage, name);
    CHECK_MESSAGE(error_of(inside.rewind(archive, archive_digest(bytes))).fault != Fault::usage, name);
    CHECK_MESSAGE(names(outer.files()) == Names{"store/"}, name);
  }
}

TEST_CASE("store: generations at the end of their numbers are refused, not wrapped around") {
  StoreDirectory dir;
  constexpr std::uint64_t kLast = ~std::uint64_t{0};
  REQUIRE(dir.store.save(generation(kLast)).ok());
  const auto loaded = dir.store.load();
  REQUIRE(loaded.ok());
  const Archive next = tap::state::successor((*loaded)->archive, (*loaded)->digest);
  CHECK_FALSE(dir.store.save(next).ok());
  const auto rewound = dir.store.rewind((*loaded)->archive, (*loaded)->digest);
  CHECK_FALSE(rewound.ok());
  CHECK(exists(dir.directory / "Sample-18446744073709551615.tap"));
}
