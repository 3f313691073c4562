// golden/journal-1.wal is what journal version 1 looks like, written once by a program that shares no code with this
// one (golden/write_journal_1.py). It is never made again.
#include <doctest/doctest.h>

#include "state/base/crc32c.hpp"
#include "tests/state/journal_fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using tap::Bytes;
using tap::state::SegmentHeader;

namespace {

Bytes golden() { return tap::tests::read_text(std::string(TAP_GOLDEN) + "/journal-1.wal"); }

tap::state::Lineage golden_lineage() {
  tap::state::Lineage lineage;
  for (std::size_t i = 0; i < lineage.bytes.size(); ++i) lineage.bytes[i] = static_cast<char>(0x10 + i);
  return lineage;
}

}  // namespace

TEST_CASE("golden: a segment of journal version 1 is read as it was written") {
  const tap::Result<SegmentHeader> header = tap::state::decode_segment_header(golden());
  REQUIRE(header.ok());
  CHECK(header->block_bytes == 512);
  CHECK(header->segment_bytes == 16'384);
  CHECK(header->lineage == golden_lineage());
  CHECK(header->epoch == 3);
  CHECK(header->first_lsn == 8);
  CHECK(header->previous_chain == 0x11223344);
  CHECK(header->writer == "tapd 0.1.0");

  tap::testing::SimulatedDisk disk;
  disk.put("Golden-8.wal", golden());
  const tap::tests::Reading reading = tap::tests::read_from(disk, golden_lineage(), 7);
  REQUIRE_MESSAGE(reading.end.ok(), (reading.end.ok() ? "" : reading.end.error().message));
  Bytes whole;
  for (int i = 0; i < 3 * 256; ++i) whole.push_back(static_cast<char>(i));
  CHECK((reading.heard == std::vector<std::string>{"fib/2/", "fib/2/", "fib/3/" + whole}));
  CHECK(reading.end->last_lsn == 10);
  CHECK(reading.end->batches == 2);
  CHECK(reading.end->sealed);
}

TEST_CASE("golden: the same bytes are written today") {
  const Bytes file = golden();
  const SegmentHeader header = *tap::state::decode_segment_header(file);
  CHECK((tap::state::encode_segment_header(header) == file.substr(0, tap::state::kSegmentHeaderBytes)));
  Bytes records;
  tap::state::append_record(records, tap::state::RecordType::introduction, 2,
                            tap::state::encode_introduction({5, "fib", "fibonacci"}));
  for (int i = 0; i < 2; ++i) tap::state::append_record(records, tap::state::RecordType::change, 2, "");
  const tap::state::BatchHeader first{0, static_cast<std::uint32_t>(records.size()), 8, 2, 7};
  std::uint32_t chain = tap::state::chain_start(header);
  Bytes batch;
  tap::state::append_batch(batch, first, records, tap::state::segment_seed(header), 512, chain);
  CHECK((batch == file.substr(tap::state::kSegmentDataOffset, batch.size())));
}
