#include "state/store.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/state/archive_equal.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/says.hpp"
#include "tests/state/store_fixture.hpp"

using tap::Error;
using tap::Fault;
using tap::state::archive_digest;
using tap::state::encode_archive;
using tap::tests::damaged_bytes;
using tap::tests::equal;
using tap::tests::error_of;
using tap::tests::generation;
using tap::tests::generation_bytes;
using tap::tests::names;
using tap::tests::newer_format_bytes;
using tap::tests::says;
using tap::tests::Snapshot;
using tap::tests::StoreDirectory;

using Names = std::vector<std::string>;

TEST_CASE("store: an empty directory is an empty store, and stays one") {
  StoreDirectory dir;
  const auto loaded = dir.store.load();
  REQUIRE(loaded.ok());
  CHECK_FALSE(loaded->has_value());
  CHECK(dir.files().empty());
  CHECK(dir.store.take_report().empty());
}

TEST_CASE("store: what was saved is loaded") {
  StoreDirectory dir;
  const auto saved = dir.store.save(generation(7));
  REQUIRE(saved.ok());
  CHECK(saved->file == "Sample-7.tap");
  CHECK((dir.read("Sample-7.tap") == generation_bytes(7)));
  const auto loaded = dir.store.load();
  REQUIRE(loaded.ok());
  REQUIRE(loaded->has_value());
  CHECK(equal((*loaded)->archive, generation(7)));
  CHECK((*loaded)->file == "Sample-7.tap");
  CHECK((*loaded)->digest == saved->digest);
  CHECK(saved->digest == archive_digest(generation_bytes(7)));
  CHECK(dir.store.take_report().empty());
}

TEST_CASE("store: the newest two generations are kept, the others removed") {
  StoreDirectory dir;
  for (std::uint64_t number = 8; number <= 12; ++number) REQUIRE(dir.store.save(generation(number)).ok());
  CHECK(names(dir.files()) == Names{"Sample-11.tap", "Sample-12.tap"});
  REQUIRE(dir.store.save(generation(100)).ok());
  CHECK(names(dir.files()) == Names{"Sample-100.tap", "Sample-12.tap"});
  CHECK(equal((*dir.store.load())->archive, generation(100)));
}

TEST_CASE("store: generations are compared as numbers, not as names") {
  StoreDirectory dir;
  dir.put("Sample-9.tap", generation_bytes(9));
  dir.put("Sample-10.tap", generation_bytes(10));
  CHECK((*dir.store.load())->archive.generation == 10);
  REQUIRE(dir.store.save(generation(11)).ok());
  CHECK(names(dir.files()) == Names{"Sample-10.tap", "Sample-11.tap"});
}

TEST_CASE("store: a generation that is not above all others is not saved") {
  StoreDirectory dir;
  REQUIRE(dir.store.save(generation(7)).ok());
  REQUIRE(dir.store.save(generation(8)).ok());
  const Snapshot before = dir.files();
  for (const std::uint64_t number : {1U, 7U, 8U}) {
    const Error error = error_of(dir.store.save(generation(number)));
    CHECK(error.fault == Fault::internal);
    CHECK(says(error, "is not above Sample-8.tap"));
  }
  CHECK((dir.files() == before));
}

TEST_CASE("store: what an interrupted save left is removed and said") {
  StoreDirectory dir;
  dir.put("Sample-1.tap.tmp", "half");
  REQUIRE(dir.store.load().ok());
  CHECK(dir.files().empty());
  CHECK(dir.store.take_report() == Names{"removed Sample-1.tap.tmp, the rest of an interrupted save"});
  CHECK(dir.store.take_report().empty());
  dir.put("Sample-7.tap", generation_bytes(7));
  dir.put("Sample-8.tap.tmp", generation_bytes(8));
  dir.put("other.tmp", "");
  CHECK((*dir.store.load())->archive.generation == 7);
  CHECK(names(dir.files()) == Names{"Sample-7.tap", "other.tmp"});
  CHECK(dir.store.take_report() == Names{"removed Sample-8.tap.tmp, the rest of an interrupted save"});
}

TEST_CASE("store: a save goes on over what an interrupted one left") {
  StoreDirectory dir;
  for (const std::uint64_t number : {5U, 6U, 7U})
    dir.put("Sample-" + std::to_string(number) + ".tap", generation_bytes(number));
  dir.put("Sample-8.tap.tmp", "half of generation eight");
  REQUIRE(dir.store.save(generation(8)).ok());
  CHECK(names(dir.files()) == Names{"Sample-7.tap", "Sample-8.tap"});
}

TEST_CASE("store: a damaged newest archive is 65, names the older one, and every file stays as it is") {
  for (const std::string& broken :
       {damaged_bytes(8), std::string(), generation_bytes(8).substr(0, 500), std::string("text")}) {
    StoreDirectory dir;
    dir.put("Sample-7.tap", generation_bytes(7));
    dir.put("Sample-8.tap", broken);
    dir.put("Sample-6.tap", damaged_bytes(6));
    dir.put("Sample-9.tap.tmp", "half");
    const Snapshot before = dir.files();
    const Error error = error_of(dir.store.load());
    CHECK(error.fault == Fault::damaged);
    CHECK(says(error, "archive Sample-8.tap: "));
    CHECK(says(error, "The older Sample-7.tap may be whole"));
    CHECK((dir.files() == before));
    CHECK(dir.store.take_report().empty());
  }
}

TEST_CASE("store: a damaged only archive is 65, and nothing older is promised") {
  StoreDirectory dir;
  dir.put("Sample-8.tap", damaged_bytes(8));
  const Error error = error_of(dir.store.load());
  CHECK(error.fault == Fault::damaged);
  CHECK(says(error, "service 'fib'"));
  CHECK_FALSE(says(error, "older"));
}

TEST_CASE("store: a newest archive of a newer format is 78, and every file stays as it is") {
  StoreDirectory dir;
  dir.put("Sample-7.tap", generation_bytes(7));
  dir.put("Sample-8.tap", newer_format_bytes(8));
  dir.put("Sample-9.tap.tmp", "half");
  const Snapshot before = dir.files();
  const Error error = error_of(dir.store.load());
  CHECK(error.fault == Fault::config);
  CHECK(says(error, "archive Sample-8.tap: the archive has format version 2"));
  CHECK_FALSE(says(error, "older"));
  CHECK((dir.files() == before));
}

TEST_CASE("store: a damaged older archive is moved to quarantine and said, the newest is used") {
  StoreDirectory dir;
  dir.put("Sample-7.tap", damaged_bytes(7));
  dir.put("Sample-8.tap", generation_bytes(8));
  CHECK((*dir.store.load())->archive.generation == 8);
  CHECK(names(dir.files()) == Names{"Sample-8.tap", "quarantine/", "quarantine/Sample-7.tap"});
  CHECK((dir.read("quarantine/Sample-7.tap") == damaged_bytes(7)));
  const Names report = dir.store.take_report();
  REQUIRE(report.size() == 1);
  CHECK(report[0].rfind("moved Sample-7.tap to quarantine/Sample-7.tap: archive Sample-7.tap: ", 0) == 0);
  // The same again: what lies in quarantine is not overwritten.
  dir.put("Sample-7.tap", "another one");
  REQUIRE(dir.store.load().ok());
  CHECK((dir.read("quarantine/Sample-7.tap") == damaged_bytes(7)));
  CHECK(dir.read("quarantine/Sample-7.tap.1") == "another one");
}

TEST_CASE("store: an older archive of a newer format stays where it is") {
  StoreDirectory dir;
  dir.put("Sample-7.tap", newer_format_bytes(7));
  dir.put("Sample-8.tap", generation_bytes(8));
  const Snapshot before = dir.files();
  REQUIRE(dir.store.load().ok());
  CHECK((dir.files() == before));
}

TEST_CASE("store: two archives of one generation are 65, and both are named") {
  StoreDirectory dir;
  dir.put("Sample-8.tap", generation_bytes(8));
  dir.put("Other-8.tap", generation_bytes(8));
  const Snapshot before = dir.files();
  const Error error = error_of(dir.store.load());
  CHECK(error.fault == Fault::damaged);
  CHECK(says(error, "two archives of generation 8"));
  CHECK(says(error, "Sample-8.tap"));
  CHECK(says(error, "Other-8.tap"));
  CHECK((dir.files() == before));
}

TEST_CASE("store: an archive that somebody has renamed is 65") {
  StoreDirectory dir;
  dir.put("Sample-9.tap", generation_bytes(8));
  const Snapshot before = dir.files();
  const Error error = error_of(dir.store.load());
  CHECK(error.fault == Fault::damaged);
  CHECK(says(error, "archive Sample-9.tap: it says that it is generation 8; somebody has renamed it"));
  CHECK((dir.files() == before));
}

TEST_CASE("store: a look at it clears nothing away and moves nothing") {
  StoreDirectory dir;
  dir.put("Sample-9.tap.tmp", "half");
  Snapshot before = dir.files();
  CHECK_FALSE(dir.store.load(true)->has_value());
  CHECK((dir.files() == before));
  dir.put("Sample-7.tap", damaged_bytes(7));
  dir.put("Sample-8.tap", generation_bytes(8));
  before = dir.files();
  const auto looked = dir.store.load(true);
  REQUIRE(looked.ok());
  CHECK(equal((*looked)->archive, generation(8)));
  CHECK((dir.files() == before));
  CHECK(dir.store.take_report().empty());
}

TEST_CASE("store: it knows which files are its own") {
  for (const char* name : {"LOCK", "quarantine", "Sample-1.tap", "Sample-1.tap.tmp", "a-b-12.tap"}) {
    CHECK_MESSAGE(tap::state::Store::owns(name), std::string(name));
  }
  for (const char* name : {"", "tap", "notes", "LOCK.tmp2", "Sample.tap", "Sample-shutdown.tap", "x.tmp", "-1.tap",
                           ".tmp", "Sample-1.tap.bak", "Sample-x.tap"}) {
    CHECK_FALSE_MESSAGE(tap::state::Store::owns(name), std::string(name));
  }
}

TEST_CASE("store: a link in the place of the newest archive is 65, and what it leads to is not read") {
  StoreDirectory dir;
  StoreDirectory elsewhere;
  elsewhere.put("Sample-8.tap", generation_bytes(8));
  const std::string target = elsewhere.directory / "Sample-8.tap";
  const std::string link = dir.directory / "Sample-8.tap";
  REQUIRE(::symlink(target.c_str(), link.c_str()) == 0);
  CHECK(says(error_of(dir.store.load()), "Sample-8.tap is a symbolic link"));
  REQUIRE(::unlink(link.c_str()) == 0);
  REQUIRE(::link(target.c_str(), link.c_str()) == 0);
  const Error error = error_of(dir.store.load());
  CHECK(error.fault == Fault::damaged);
  CHECK(says(error, "hard link"));
  CHECK(tap::state::read_archive_file(link).ok());
}

TEST_CASE("store: files of other names are not looked at") {
  StoreDirectory dir;
  for (const char* name :
       {"LOCK", "Sample-shutdown.tap", "Sample.tap", "-5.tap", "Sample-.tap", "Sample-5x.tap", "notes",
        "Sample-99.tap.bak", "Sample-99999999999999999999999.tap", "Sample--.tap", "Sample-1.wal.bak"}) {
    dir.put(name, "something else");
  }
  const Snapshot before = dir.files();
  const auto loaded = dir.store.load();
  REQUIRE(loaded.ok());
  CHECK_FALSE(loaded->has_value());
  CHECK((dir.files() == before));
  REQUIRE(dir.store.save(generation(7)).ok());
  CHECK(dir.files().size() == before.size() + 1);
}

TEST_CASE("store: a directory or FIFO in the place of the newest archive is 66 and does not hang") {
  StoreDirectory dir;
  REQUIRE(::mkdir((dir.directory / "Sample-8.tap").c_str(), 0700) == 0);
  CHECK(error_of(dir.store.load()).fault == Fault::no_input);
  REQUIRE(::mkfifo((dir.directory / "Sample-9.tap").c_str(), 0600) == 0);
  CHECK(error_of(dir.store.load()).fault == Fault::no_input);
}

TEST_CASE("store: the list has every archive, newest first, readable or not, and changes nothing") {
  StoreDirectory dir;
  dir.put("Sample-7.tap", damaged_bytes(7));
  dir.put("Sample-10.tap", newer_format_bytes(10));
  dir.put("Sample-9.tap", generation_bytes(9));
  dir.put("Sample-11.tap.tmp", "half");
  dir.put("Sample-shutdown.tap", generation_bytes(9));
  const Snapshot before = dir.files();
  const auto list = dir.store.list();
  REQUIRE(list.ok());
  REQUIRE(list->size() == 3);
  CHECK((*list)[0].file == "Sample-10.tap");
  CHECK((*list)[0].generation == 10);
  CHECK((*list)[0].content.error().fault == Fault::config);
  REQUIRE((*list)[1].content.ok());
  CHECK(equal((*list)[1].content->archive, generation(9)));
  CHECK((*list)[2].content.error().fault == Fault::damaged);
  CHECK((dir.files() == before));
}

TEST_CASE("store: the newest archive is copied, never linked") {
  StoreDirectory dir;
  StoreDirectory to;
  CHECK(error_of(dir.store.copy_newest(to.store.directory(), "x.tap")).fault == Fault::no_input);
  REQUIRE(dir.store.save(generation(7)).ok());
  REQUIRE(dir.store.save(generation(8)).ok());
  to.put("Sample-shutdown.tap", "old");
  REQUIRE(dir.store.copy_newest(to.store.directory(), "Sample-shutdown.tap").ok());
  CHECK((to.files() == Snapshot{{"Sample-shutdown.tap", generation_bytes(8)}}));
  struct stat copy {};
  struct stat source {};
  REQUIRE(::stat((to.directory / "Sample-shutdown.tap").c_str(), &copy) == 0);
  REQUIRE(::stat((dir.directory / "Sample-8.tap").c_str(), &source) == 0);
  CHECK(copy.st_ino != source.st_ino);
  CHECK(source.st_nlink == 1);
}

TEST_CASE("store: an archive file is read wherever it lies, its errors name it") {
  StoreDirectory dir;
  dir.put("a.tap", generation_bytes(7));
  const auto stored = tap::state::read_archive_file(dir.directory / "a.tap");
  REQUIRE(stored.ok());
  CHECK(equal(stored->archive, generation(7)));
  CHECK(stored->digest == archive_digest(generation_bytes(7)));
  CHECK(stored->file == dir.directory / "a.tap");
  dir.put("b.tap", damaged_bytes(7));
  const Error error = error_of(tap::state::read_archive_file(dir.directory / "b.tap"));
  CHECK(error.fault == Fault::damaged);
  CHECK(error.message.rfind(dir.directory / "b.tap: ", 0) == 0);
  CHECK(error_of(tap::state::read_archive_file(dir.directory / "no")).fault == Fault::no_input);
  CHECK(error_of(tap::state::read_archive_file(dir.directory.path())).fault == Fault::no_input);
}
