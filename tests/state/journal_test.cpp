// Writing a journal and reading it back: batches, segments, epochs, and the end that a crash leaves.
#include "state/journal.hpp"

#include <doctest/doctest.h>

#include <cerrno>

#include "tests/state/journal_fixture.hpp"
#include "tests/state/says.hpp"

using tap::Bytes;
using tap::ByteView;
using tap::state::kBatchHeaderBytes;
using tap::state::kSegmentDataOffset;
using tap::testing::kSectorBytes;
using tap::testing::SimulatedDisk;
using tap::tests::error_of;
using tap::tests::JournalFixture;
using tap::tests::Reading;
using tap::tests::says;

using Names = std::vector<std::string>;

namespace {

/// A journal of three batches, and a fourth of which the disk has what `tear` leaves of it.
struct Torn : JournalFixture {
  template <class Tear>
  explicit Torn(Tear&& tear, const std::vector<std::string>& last = {std::string(1500, 'x')}) {
    open();
    for (const char* payload : {"one", "two", "three"}) write({payload});
    acknowledged = written;
    const std::size_t begin = kSegmentDataOffset + 3 * kSectorBytes;
    write(last);
    alter("J-1.wal", [&](Bytes& bytes) {
      Bytes batch = bytes.substr(begin);
      tear(batch);
      torn = batch.substr(0, batch.find_last_not_of('\0') + 1);
      bytes.replace(begin, Bytes::npos, batch);
    });
  }
  Names acknowledged;
  Bytes torn;
};

Bytes zeros(std::size_t count) { return Bytes(count, '\0'); }

}  // namespace

TEST_CASE("journal: what was written is read back in its order, with whose it is") {
  JournalFixture journal;
  journal.open();
  journal.write({"one", "two"});
  journal.write({"three"}, 1);
  journal.write({""});
  const Reading reading = journal.read();
  REQUIRE(reading.end.ok());
  CHECK(reading.heard == Names{"a/2/one", "a/2/two", "b/2/three", "a/2/"});
  CHECK(reading.end->last_lsn == 4);
  CHECK(reading.end->batches == 3);
  CHECK(reading.end->records == 4);
  CHECK(reading.end->epoch == 1);
  CHECK_FALSE(reading.end->sealed);
  CHECK(reading.end->unclean());
  CHECK(reading.end->chain == journal.writer->chain());
}

TEST_CASE("journal: what an archive has already is passed over") {
  JournalFixture journal;
  journal.open();
  for (const char* payload : {"one", "two", "three"}) journal.write({payload});
  CHECK(journal.read(2).heard == Names{"a/2/three"});
  const Reading all = journal.read(3);
  REQUIRE(all.end.ok());
  CHECK(all.heard.empty());
  CHECK(all.end->records == 0);
  CHECK(all.end->unclean());  // it is not sealed
  REQUIRE(journal.writer->seal().ok());
  CHECK_FALSE(journal.read(3).end->unclean());
  CHECK(journal.read(2).end->unclean());  // the archive does not have everything
}

TEST_CASE("journal: no segment at all means that nothing happened") {
  JournalFixture journal;
  const Reading reading = journal.read(7);
  REQUIRE(reading.end.ok());
  CHECK(reading.end->last_lsn == 7);
  CHECK(reading.end->epoch == 0);
  CHECK_FALSE(reading.end->unclean());
}

TEST_CASE("journal: barriers and seals have no LSN, and count as nothing that happened") {
  JournalFixture journal;
  journal.open();
  REQUIRE(journal.writer->write_barrier().ok());
  journal.write({"one"});
  REQUIRE(journal.writer->write_barrier().ok());
  REQUIRE(journal.writer->write_barrier().ok());
  journal.write({"two"});
  REQUIRE(journal.writer->seal().ok());
  const Reading reading = journal.read();
  REQUIRE(reading.end.ok());
  CHECK(reading.heard == journal.written);
  CHECK(reading.end->last_lsn == 2);
  CHECK(reading.end->batches == 2);
  CHECK(reading.end->sealed);
}

TEST_CASE("journal: batches begin at the device's blocks") {
  for (const std::size_t block_bytes : {std::size_t{512}, std::size_t{4096}}) {
    JournalFixture journal(4 * 4096, block_bytes);
    journal.open();
    journal.write({"one"});
    journal.write({"two"});
    const Bytes bytes = journal.disk.files().at("J-1.wal");
    CHECK(bytes.substr(kSegmentDataOffset, 4) == "BATC");
    CHECK(bytes.substr(kSegmentDataOffset + block_bytes, 4) == "BATC");
    CHECK(journal.read().heard == journal.written);
  }
}

TEST_CASE("journal: a segment that is full is followed by another, in which services are introduced again") {
  JournalFixture journal;
  journal.open();
  for (int i = 0; i < 12; ++i) journal.write({std::to_string(i) + std::string(700, '.')}, i % 2 == 0 ? 0 : 1);
  CHECK(journal.segments().size() == 3);
  CHECK(journal.read().heard == journal.written);
  // The last one alone tells whose its records are.
  const std::uint64_t base_lsn = *tap::state::segment_first_lsn(journal.segments().back()) - 1;
  journal.disk.erase(journal.segments()[0]);
  journal.disk.erase(journal.segments()[0]);
  CHECK(journal.read(base_lsn).heard.size() == 12 - base_lsn);
}

TEST_CASE("journal: a batch larger than a segment gets one of its own") {
  JournalFixture journal;
  journal.open();
  journal.write({"small"});
  journal.write({std::string(50'000, 'x')});
  journal.write({"small again"});
  const Reading reading = journal.read();
  REQUIRE(reading.end.ok());
  CHECK(reading.heard == journal.written);
  CHECK(journal.disk.files().at("J-2.wal").size() > 50'000);
  CHECK(journal.segments() == Names{"J-1.wal", "J-2.wal"});  // the small one fits behind it
}

TEST_CASE("journal: an ended segment is followed by another, and until where it goes can be asked") {
  JournalFixture journal;
  journal.open();
  journal.write({"one"});
  journal.writer->end_segment();
  journal.write({"two"});
  CHECK(journal.segments() == Names{"J-1.wal", "J-2.wal"});
  const auto until = [&](std::uint64_t lsn) {
    return tap::state::read_journal(*journal.face, tap::tests::test_lineage(), 0, nullptr, lsn);
  };
  REQUIRE(until(1).ok());
  CHECK(until(1)->records == 1);
  CHECK(until(2)->records == 2);
  CHECK(error_of(until(3)).fault == tap::Fault::damaged);
  journal.write({"three"});
  CHECK(error_of(until(2)).fault == tap::Fault::damaged);  // no segment ends there any more
}

TEST_CASE("journal: openers follow one another, each with an epoch of its own") {
  JournalFixture journal;
  for (const char* payload : {"one", "two", "three"}) {
    journal.open();
    journal.write({payload});
    REQUIRE(journal.writer->seal().ok());
  }
  const Reading reading = journal.read();
  REQUIRE(reading.end.ok());
  CHECK(reading.heard == journal.written);
  CHECK(reading.end->epoch == 3);
  CHECK(reading.end->segments.size() == 3);
}

TEST_CASE("journal: an empty segment is replaced by that of the next opener, which has its name") {
  JournalFixture journal;
  journal.open();
  journal.write({"one"});
  REQUIRE(journal.writer->seal().ok());
  for (std::uint64_t epoch = 2; epoch < 6; ++epoch) {
    journal.open();
    if (epoch % 2 == 0) REQUIRE(journal.writer->seal().ok());
    CHECK(journal.segments() == Names{"J-1.wal", "J-2.wal"});
    CHECK(journal.read().end->epoch == epoch);
  }
  journal.write({"two"});
  CHECK(journal.read().heard == journal.written);
}

TEST_CASE("journal: an application that has another name goes on, also where the old name's segment is empty") {
  for (const char* old_name : {"A-2.wal", "Z-2.wal"}) {
    JournalFixture journal;
    journal.open();
    journal.write({"one"});
    REQUIRE(journal.writer->seal().ok());
    journal.open();
    REQUIRE(journal.writer->seal().ok());
    journal.disk.put(old_name, journal.disk.files().at("J-2.wal"));
    journal.disk.erase("J-2.wal");
    journal.open();
    journal.write({"two"});
    const Reading reading = journal.read();
    REQUIRE(reading.end.ok());
    CHECK(reading.heard == journal.written);
    CHECK(journal.read(1).heard == Names{"a/2/two"});
  }
}

TEST_CASE("journal: a torn last batch is left out and reported, wherever its sectors end") {
  for (std::size_t sectors = 0; sectors < 4; ++sectors) {
    Torn journal([&](Bytes& batch) {
      batch.replace(sectors * kSectorBytes, Bytes::npos, zeros(batch.size() - sectors * kSectorBytes));
    });
    const Reading reading = journal.read();
    REQUIRE(reading.end.ok());
    const bool whole = sectors == 4;
    CHECK(reading.heard == (whole ? journal.written : journal.acknowledged));
    CHECK(reading.end->tear.has_value() == (sectors != 0));
    CHECK(reading.end->unclean());
    if (!reading.end->tear) continue;
    CHECK(reading.end->tear->file == "J-1.wal");
    CHECK(reading.end->tear->offset == kSegmentDataOffset + 3 * kSectorBytes);
    CHECK(reading.end->tear->bytes == journal.torn.size());
  }
}

TEST_CASE("journal: a last batch whose first sector is missing is torn as well") {
  Torn journal([](Bytes& batch) { batch.replace(0, kSectorBytes, zeros(kSectorBytes)); });
  const Reading reading = journal.read();
  REQUIRE(reading.end.ok());
  CHECK(reading.heard == journal.acknowledged);
  REQUIRE(reading.end->tear.has_value());
  CHECK(reading.end->tear->offset == kSegmentDataOffset + 3 * kSectorBytes);
}

TEST_CASE("journal: cutting a tear makes the next reading clean and keeps a copy") {
  Torn journal([](Bytes& batch) { batch.replace(kSectorBytes, kSectorBytes, zeros(kSectorBytes)); });
  const Reading before = journal.read();
  REQUIRE(before.end.ok());
  REQUIRE(tap::state::cut_tear(*journal.face, *before.end).ok());
  const Reading after = journal.read();
  REQUIRE(after.end.ok());
  CHECK_FALSE(after.end->tear.has_value());
  CHECK(after.heard == journal.acknowledged);
  CHECK((journal.disk.files().at("quarantine/J-1.wal.5632") == journal.torn));
  // What was copied and cut is durable.
  SimulatedDisk later = journal.disk.after_power_cut(std::vector<bool>(journal.disk.unsynced()));
  CHECK((later.files() == journal.disk.files()));
  // And again: nothing is overwritten.
  REQUIRE(tap::state::cut_tear(*journal.face, *before.end).ok());
  CHECK(journal.disk.files().count("quarantine/J-1.wal.5632.1") == 1);
  CHECK((journal.disk.files().at("quarantine/J-1.wal.5632") == journal.torn));
}

TEST_CASE("journal: cutting a tear fails without touching it when no copy can be kept") {
  Torn journal([](Bytes& batch) { batch.replace(kSectorBytes, kSectorBytes, zeros(kSectorBytes)); });
  const Reading before = journal.read();
  const Bytes bytes = journal.disk.files().at("J-1.wal");
  for (std::uint64_t call = 1;; ++call) {
    SimulatedDisk disk = journal.disk.after_kill();
    disk.fail_at(call, EIO, SimulatedDisk::Trouble::once);
    const tap::Result<void> cut = tap::state::cut_tear(*disk.plug_in(), *before.end);
    if (!disk.take_failed()) break;
    CHECK_FALSE(cut.ok());
    const Reading again = tap::tests::read_from(disk, tap::tests::test_lineage());
    CHECK(again.heard == journal.acknowledged);
    if (disk.files().at("J-1.wal") != bytes) {
      CHECK((disk.files().at("quarantine/J-1.wal.5632") == journal.torn));
    }
  }
}

TEST_CASE("journal: a torn batch that carries batches of another seed in its payload is still torn") {
  JournalFixture other;
  other.open();
  for (int i = 0; i < 4; ++i) other.write({"evil"});
  // The embedded batches begin where blocks of this journal begin.
  const Bytes evil = other.disk.files().at("J-1.wal").substr(kSegmentDataOffset, 4 * kSectorBytes);
  const std::size_t before = kBatchHeaderBytes + tap::state::kRecordHeaderBytes;
  Torn journal([](Bytes& batch) { batch[kBatchHeaderBytes + tap::state::kRecordHeaderBytes] ^= 1; },
               {Bytes(kSectorBytes - before, 'p') + evil});
  const Reading reading = journal.read();
  REQUIRE(reading.end.ok());
  CHECK(reading.heard == journal.acknowledged);
  CHECK(reading.end->tear.has_value());
}

TEST_CASE("journal: a whole batch whose payload carries batches is read as one") {
  JournalFixture journal(4 * 4096);
  journal.open();
  for (int i = 0; i < 4; ++i) journal.write({"evil"});
  const Bytes evil = journal.disk.files().at("J-1.wal").substr(kSegmentDataOffset, 4 * kSectorBytes);
  journal.write({Bytes(kSectorBytes - kBatchHeaderBytes - tap::state::kRecordHeaderBytes, 'p') + evil});
  journal.write({"good"});
  CHECK(journal.read().heard == journal.written);
}

TEST_CASE("journal: what an earlier life of the same file left behind is never taken for batches") {
  JournalFixture journal;
  journal.open();
  journal.write({"one"});
  const Bytes first = journal.disk.files().at("J-1.wal");
  // The same name, LSN and lineage, another opener: only epoch and salt differ.
  journal.disk.erase("J-1.wal");
  journal.open();
  journal.alter("J-1.wal", [&](Bytes& bytes) {
    bytes.replace(kSegmentDataOffset, Bytes::npos, first.substr(kSegmentDataOffset));
  });
  const Reading reading = journal.read();
  REQUIRE(reading.end.ok());
  CHECK(reading.heard.empty());
  CHECK(reading.end->tear.has_value());
}

TEST_CASE("journal: a full disk leaves the writer usable, and the same batch can be tried again") {
  JournalFixture journal;
  journal.open();
  for (int i = 0; i < 4; ++i) journal.write({std::string(900, 'x')});
  const tap::state::Batch next = journal.batch({"first of a new segment" + std::string(900, 'y')});
  int failures = 0;
  for (std::uint64_t call = journal.disk.calls() + 1;; ++call) {
    journal.disk.fail_at(call, ENOSPC, SimulatedDisk::Trouble::once);
    const tap::Result<void> written = journal.writer->write(next);
    if (written) break;
    CHECK(tap::state::is_disk_full(written.error()));
    if (journal.writer->broken()) break;  // it was the commit's own sync: nothing is known of the disk
    ++failures;
    call = journal.disk.calls();
    CHECK(journal.read().heard == journal.written);
  }
  CHECK(failures > 0);
}

TEST_CASE("journal: a failed sync of a batch breaks the writer, even when the reason is a full disk") {
  for (const int code : {EIO, ENOSPC}) {
    JournalFixture journal;
    journal.open();
    journal.write({"one"});
    journal.disk.fail_at(journal.disk.calls() + 2, code, SimulatedDisk::Trouble::once);
    CHECK_FALSE(journal.writer->write(journal.batch({"two"})).ok());
    CHECK(journal.writer->broken());
    // Memory shows it still; the disk does not have it, and that is what is read.
    CHECK(journal.disk.files().at("J-1.wal").find("two") != Bytes::npos);
    CHECK(journal.read().heard == Names{"a/2/one"});
  }
}

TEST_CASE("journal: a write error other than a full disk breaks the writer") {
  JournalFixture journal;
  journal.open();
  journal.disk.fail_at(journal.disk.calls() + 1, EIO, SimulatedDisk::Trouble::once);
  CHECK_FALSE(journal.writer->write(journal.batch({"one"})).ok());
  CHECK(journal.writer->broken());
}

TEST_CASE("journal: a seal that does not fit the segment goes into a new one") {
  JournalFixture journal;
  journal.open();
  for (int i = 0; i < 8; ++i) journal.write({"fills one of eight blocks"});
  REQUIRE(journal.writer->seal().ok());
  const Reading reading = journal.read();
  REQUIRE(reading.end.ok());
  CHECK(reading.heard == journal.written);
  CHECK(reading.end->sealed);
  CHECK(journal.segments() == Names{"J-1.wal", "J-9.wal"});
}

TEST_CASE("journal: the room it tells is enough for a batch of that size") {
  JournalFixture journal;
  journal.open();
  journal.write({"x"});
  const std::size_t room = journal.writer->room();
  journal.write({std::string(room - tap::state::kRecordHeaderBytes, 'y')});
  CHECK(journal.segments().size() == 1);
  CHECK(journal.writer->room() == 0);
  CHECK(journal.read().heard == journal.written);
}

TEST_CASE("journal: only names of segments are taken for segments") {
  using tap::state::segment_first_lsn;
  CHECK(segment_first_lsn("Fib-17.wal") == 17);
  CHECK(segment_first_lsn("a-b-18446744073709551615.wal") == ~std::uint64_t{0});
  for (const char* name : {"Fib.wal", "-17.wal", "Fib-.wal", "Fib-x.wal", "Fib-1 .wal", "Fib-+1.wal", ".wal",
                           "Fib-17.tap", "Fib-18446744073709551616.wal", "Fib-spare1.wal.tmp", "Fib-17.wal.tmp"}) {
    CHECK_MESSAGE(!segment_first_lsn(name).has_value(), name);
  }
}
