// Every kind of damage to a journal: the whole acknowledged prefix is read, or it is refused and nothing is touched.
#include <doctest/doctest.h>

#include "state/base/crc32c.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/journal_fixture.hpp"
#include "tests/state/says.hpp"

using tap::Bytes;
using tap::ByteView;
using tap::Fault;
using tap::get_le;
using tap::state::kSegmentDataOffset;
using tap::testing::kSectorBytes;
using tap::testing::SimulatedDisk;
using tap::tests::error_of;
using tap::tests::JournalFixture;
using tap::tests::patch;
using tap::tests::read_from;
using tap::tests::Reading;
using tap::tests::repair_segment;
using tap::tests::says;
using tap::tests::test_lineage;

namespace {

enum class Ending { sealed, barriered, open };

/// Five batches in one segment, the third over several sectors; what follows the last one is as told.
struct OneSegment : JournalFixture {
  explicit OneSegment(Ending ending) : JournalFixture(12'288) {
    open();
    write({"one"});
    write({"two", "three"}, 1);
    write({std::string(1200, '4')});
    write({"five"});
    end_before_last = written;
    write({"six", std::string(600, '7')}, 1);
    if (ending == Ending::sealed) REQUIRE(writer->seal().ok());
    if (ending == Ending::barriered) REQUIRE(writer->write_barrier().ok());
    whole = disk.files().at(file);
    used = whole.find_last_not_of('\0') + 1;
    last_may_go = ending == Ending::open;
  }

  /// What is wrong with how the journal reads when its bytes are these; empty: nothing.
  std::string judge(const Bytes& bytes) {
    disk.put(file, bytes);
    const Reading reading = read();
    if (disk.files().at(file) != bytes) return "the file was changed";
    if (!reading.end) return reading.end.error().fault == Fault::damaged ? "" : "another fault than 65";
    if (reading.heard == written) return "";
    if (last_may_go && reading.heard == end_before_last && reading.end->tear) return "";
    return "it reads " + std::to_string(reading.heard.size()) + " of " + std::to_string(written.size());
  }

  /// How the last batch fares: cut and reported, refused, or whole.
  [[nodiscard]] bool cuts(const Bytes& bytes) {
    disk.put(file, bytes);
    const Reading reading = read();
    return reading.end.ok() && reading.heard == end_before_last;
  }

  const std::string file = "J-1.wal";
  std::vector<std::string> end_before_last;
  Bytes whole;
  std::size_t used = 0;
  bool last_may_go = false;
};

void flip_every_bit(OneSegment& journal) {
  for (std::size_t bit = 0; bit < journal.used * 8; ++bit) {
    Bytes bytes = journal.whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    const std::string wrong = journal.judge(bytes);
    if (!wrong.empty()) FAIL("bit " << bit % 8 << " of byte " << bit / 8 << ": " << wrong);
  }
  // Behind that there are only zeros: one bit of each byte tells as much as all eight.
  for (std::size_t at = journal.used; at < journal.whole.size(); ++at) {
    Bytes bytes = journal.whole;
    bytes[at] = '\x10';
    const std::string wrong = journal.judge(bytes);
    if (!wrong.empty()) FAIL("byte " << at << ": " << wrong);
  }
}

void cut_everywhere(OneSegment& journal) {
  for (std::size_t length = 0; length < journal.whole.size(); ++length) {
    Bytes bytes = journal.whole.substr(0, length);
    journal.disk.put(journal.file, bytes);
    CHECK_MESSAGE(error_of(journal.read().end).fault == Fault::damaged, length);
  }
}

void lose_every_sector(OneSegment& journal) {
  for (std::size_t at = 0; at < journal.whole.size(); at += kSectorBytes) {
    Bytes bytes = journal.whole;
    bytes.replace(at, kSectorBytes, kSectorBytes, '\0');
    CHECK_MESSAGE(journal.judge(bytes) == "", at);
  }
}

/// Three segments of 8 KiB, the last one barriered.
struct ThreeSegments : JournalFixture {
  ThreeSegments() {
    open();
    for (int i = 0; i < 10; ++i) write({std::string(900, static_cast<char>('a' + i))});
    REQUIRE(writer->write_barrier().ok());
    names = segments();
    REQUIRE(names.size() == 3);
  }
  std::vector<std::string> names;
};

tap::Error refused(JournalFixture& journal, std::uint64_t base_lsn = 0) {
  const auto before = journal.disk.files();
  const tap::Error error = error_of(journal.read(base_lsn).end);
  CHECK((journal.disk.files() == before));
  return error;
}

}  // namespace

TEST_CASE("journal damage: every bit flip of a sealed journal gives all of it or a refusal") {
  OneSegment journal(Ending::sealed);
  flip_every_bit(journal);
}

TEST_CASE("journal damage: every bit flip of a barriered journal gives all of it or a refusal") {
  OneSegment journal(Ending::barriered);
  flip_every_bit(journal);
}

TEST_CASE("journal damage: a bit flip of the last batch, without a barrier, may cut it, and that is reported") {
  OneSegment journal(Ending::open);
  flip_every_bit(journal);
  Bytes bytes = journal.whole;
  bytes[journal.used - 1] ^= 1;
  CHECK(journal.cuts(bytes));  // so the rule above is needed
}

TEST_CASE("journal damage: every truncation is refused, whatever the journal ends with") {
  for (const Ending ending : {Ending::sealed, Ending::barriered, Ending::open}) {
    OneSegment journal(ending);
    cut_everywhere(journal);
  }
}

TEST_CASE("journal damage: every lost sector gives all of the journal or a refusal") {
  for (const Ending ending : {Ending::sealed, Ending::barriered, Ending::open}) {
    OneSegment journal(ending);
    lose_every_sector(journal);
  }
}

TEST_CASE("journal damage: any byte of a segment that is not the last one gives all of the journal or a refusal") {
  ThreeSegments journal;
  for (const std::string& file : {journal.names[0], journal.names[1]}) {
    const Bytes whole = journal.disk.files().at(file);
    for (std::size_t at = 0; at < whole.size(); ++at) {
      Bytes bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ 4);
      journal.disk.put(file, bytes);
      const Reading reading = journal.read();
      const bool right = reading.end ? reading.heard == journal.written && !reading.end->tear
                                     : reading.end.error().fault == Fault::damaged;
      CHECK_MESSAGE(right, file << " at " << at);
    }
    journal.disk.put(file, whole);
  }
}

TEST_CASE("journal damage: a barrier that does not fit the segment protects the last batch all the same") {
  for (const bool ended : {false, true}) {
    JournalFixture journal;
    journal.open();
    for (int i = 0; i < 8; ++i) journal.write({"fills one of eight blocks"});
    if (ended) journal.writer->end_segment();
    REQUIRE(journal.writer->write_barrier().ok());
    CHECK(journal.read().heard == journal.written);
    journal.alter("J-1.wal", [](Bytes& bytes) { bytes[8192 - kSectorBytes] ^= 1; });
    CHECK(refused(journal).fault == Fault::damaged);
  }
}

TEST_CASE("journal damage: a missing segment is refused, the first as well as one in the middle") {
  for (const int missing : {0, 1}) {
    ThreeSegments journal;
    journal.disk.erase(journal.names[static_cast<std::size_t>(missing)]);
    const tap::Error error = refused(journal);
    CHECK(error.fault == Fault::damaged);
    CHECK(says(error, missing == 0 ? "a segment is missing" : "it does not continue the segment before it"));
  }
}

TEST_CASE("journal damage: what is wrong with a segment that an archive has folded in is of no interest") {
  ThreeSegments journal;
  const std::uint64_t base_lsn = *tap::state::segment_first_lsn(journal.names[1]) - 1;
  journal.disk.put(journal.names[0], "nothing of a segment");
  const Reading reading = journal.read(base_lsn);
  REQUIRE(reading.end.ok());
  CHECK(reading.heard == std::vector<std::string>(journal.written.begin() + static_cast<std::ptrdiff_t>(base_lsn),
                                                  journal.written.end()));
  CHECK(refused(journal, base_lsn - 1).fault == Fault::damaged);
}

TEST_CASE("journal damage: a segment of another lineage is a stranger, and hides nothing of ours") {
  ThreeSegments journal;
  tap::state::Lineage other = test_lineage();
  other.bytes[0] = 'x';
  const Bytes ours = journal.disk.files().at(journal.names[2]);
  journal.alter(journal.names[2], [&](Bytes& bytes) {
    bytes.replace(32, 16, other.view());
    repair_segment(bytes);
  });
  const Reading reading = journal.read();
  REQUIRE(reading.end.ok());
  CHECK(reading.end->strangers == std::vector<std::string>{journal.names[2]});
  CHECK(reading.end->segments.size() == 2);
  // A stranger's first LSN does not fold one of ours whose header is damaged.
  journal.disk.put(journal.names[1], "nothing of a segment");
  CHECK(refused(journal, *tap::state::segment_first_lsn(journal.names[2])).fault == Fault::damaged);
}

TEST_CASE("journal damage: a renamed segment is refused") {
  ThreeSegments journal;
  journal.disk.put("J-99.wal", journal.disk.files().at(journal.names[2]));
  journal.disk.erase(journal.names[2]);
  CHECK(says(refused(journal), "J-99.wal is damaged at offset 0: somebody has renamed it"));
}

TEST_CASE("journal damage: a copy of a segment under another name is refused, whichever is the older one") {
  for (const char* name : {"A-backup-1.wal", "Z-1.wal", "J-01.wal"}) {
    OneSegment journal(Ending::barriered);
    journal.disk.put(name, journal.whole);
    CHECK(says(refused(journal), "one is a copy"));
  }
}

TEST_CASE("journal damage: a segment of an older epoch behind a newer one is refused") {
  ThreeSegments journal;
  for (const std::uint64_t epoch : {std::uint64_t{0}, std::uint64_t{2}}) {
    const std::string& altered = journal.names[epoch == 0 ? 2 : 0];
    const Bytes before = journal.disk.files().at(altered);
    journal.alter(altered, [&](Bytes& bytes) {
      patch(bytes, 48, epoch);
      repair_segment(bytes);
    });
    CHECK(says(refused(journal), "it is of an older epoch than the segment before it"));
    journal.disk.put(altered, before);
  }
}

TEST_CASE("journal damage: a segment that was cut or has grown is refused, and both lengths are named") {
  OneSegment journal(Ending::sealed);
  for (const std::size_t length : {std::size_t{4096}, std::size_t{12'287}, std::size_t{12'800}}) {
    Bytes bytes = journal.whole;
    bytes.resize(length);
    journal.disk.put(journal.file, bytes);
    const tap::Error error = refused(journal);
    CHECK(error.fault == Fault::damaged);
    CHECK(says(error, "made with 12288 bytes and has " + std::to_string(length)));
  }
}

TEST_CASE("journal damage: a newer version is 78, an unknown record 78, and nothing is touched") {
  OneSegment journal(Ending::barriered);
  journal.alter(journal.file, [](Bytes& bytes) {
    patch<std::uint32_t>(bytes, 8, 2);
    patch(bytes, 156, tap::crc32c(ByteView(bytes).substr(0, 156)));
  });
  CHECK(refused(journal).fault == Fault::config);
  journal.disk.put(journal.file, journal.whole);
  journal.alter(journal.file, [](Bytes& bytes) {
    bytes[kSegmentDataOffset + tap::state::kBatchHeaderBytes] = 9;
    repair_segment(bytes);
  });
  CHECK(refused(journal).fault == Fault::config);
}

TEST_CASE("journal damage: LSNs that leave a gap or come twice are refused") {
  for (const std::uint64_t lsn : {std::uint64_t{1}, std::uint64_t{3}}) {
    OneSegment journal(Ending::barriered);
    journal.alter(journal.file, [&](Bytes& bytes) {
      patch(bytes, kSegmentDataOffset + kSectorBytes + 16, lsn);  // the second batch begins with 2
      repair_segment(bytes);
    });
    CHECK(says(refused(journal), "its LSN is not the next one"));
  }
}

TEST_CASE("journal damage: an archive that ends inside of a batch is refused") {
  OneSegment journal(Ending::barriered);
  CHECK(journal.read(1).end.ok());
  CHECK(says(refused(journal, 2), "the archive ends inside of it"));
  CHECK(journal.read(3).heard.front().substr(0, 5) == "a/2/4");
}

TEST_CASE("journal damage: a batch behind the seal is refused") {
  OneSegment journal(Ending::sealed);
  const std::size_t seal = journal.used / kSectorBytes * kSectorBytes;
  journal.alter(journal.file, [&](Bytes& bytes) {
    bytes.replace(seal + kSectorBytes, kSectorBytes, bytes.substr(seal, kSectorBytes));
    repair_segment(bytes);
  });
  CHECK(says(refused(journal), "a batch follows the segment's seal"));
}

TEST_CASE("journal damage: a record of a service that was not introduced, or that does not fit its batch, is refused") {
  OneSegment journal(Ending::barriered);
  const std::size_t records = kSegmentDataOffset + tap::state::kBatchHeaderBytes;
  journal.alter(journal.file, [&](Bytes& bytes) {
    patch<std::uint16_t>(bytes, records + 2, 5);  // the introduction's number
    repair_segment(bytes);
  });
  CHECK(says(refused(journal), "a service that the segment has not introduced"));
  journal.disk.put(journal.file, journal.whole);
  journal.alter(journal.file, [&](Bytes& bytes) {
    patch<std::uint32_t>(bytes, records + 4, 0xffffffff);
    repair_segment(bytes);
  });
  CHECK(says(refused(journal), "a record does not fit the batch"));
}

TEST_CASE("journal damage: what a sink refuses is told with file and offset, and ends the reading") {
  class Refusing final : public tap::state::ReplaySink {
   public:
    tap::Result<void> replay(const tap::state::Introduction&, tap::state::RecordType, ByteView) override {
      return tap::Error{Fault::config, "it is of a newer schema"};
    }
  };
  OneSegment journal(Ending::barriered);
  Refusing sink;
  const tap::Error error = error_of(tap::state::read_journal(*journal.face, test_lineage(), 0, &sink));
  CHECK(error.fault == Fault::config);
  CHECK(error.message == "journal J-1.wal, batch at offset 4096: it is of a newer schema");
}
