// Whatever lies in a store as its journal is read to an end or refused with a reason, in memory that the bytes bound,
// and a tear that is reported can be cut.
//
// The input: base LSN (1 byte), how far to read (1; 0: to the end), then for each segment its length (2, little-endian)
// and so many bytes: flags, the header's 160 bytes, and what stands from offset 4096 on. The flags say what is put
// right before it is read, so that the code behind the checksums is reached:
//   1 the length in the header   2 lineage   4 the chain goes on from the segment before   8 all checksums
//   16 the file is named for its header
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "state/archive.hpp"
#include "tests/state/journal_fixture.hpp"

namespace {

using namespace tap;
using namespace tap::tests;

constexpr std::size_t kFileBytesMax = std::size_t{32} << 10U;
constexpr std::size_t kSegmentsMax = 8;

enum Flags : std::uint8_t { kLength = 1, kLineage = 2, kChain = 4, kChecksums = 8, kName = 16 };

template <class Unsigned>
void put_at(Bytes& bytes, std::size_t at, Unsigned value) {
  Bytes raw;
  put_le(raw, value);
  bytes.replace(at, raw.size(), raw);
}

/// The chain of a segment's last batch with records, as a reader finds it.
std::uint32_t last_chain(const Bytes& bytes) {
  const Result<state::SegmentHeader> header = state::decode_segment_header(bytes);
  if (!header) return 0;
  std::uint32_t chain = state::chain_start(*header);
  std::uint32_t of_records = header->previous_chain;
  std::size_t at = state::kSegmentDataOffset;
  while (const auto batch = state::batch_at(bytes, at, state::segment_seed(*header), header->block_bytes, chain)) {
    chain = batch->chain;
    if (batch->header.lsn_count != 0) of_records = chain;
    at += batch->bytes;
  }
  return of_records;
}

/// The file that the input describes.
Bytes segment_from(ByteView input, std::uint8_t flags, std::uint32_t previous_chain) {
  Bytes bytes(input.substr(0, state::kSegmentHeaderBytes));
  bytes.resize(state::kSegmentHeaderBytes);
  const ByteView batches = input.substr(std::min(input.size(), state::kSegmentHeaderBytes));
  const std::uint64_t told = get_le<std::uint64_t>(bytes.data() + 24);
  if ((flags & kLineage) != 0) bytes.replace(32, 16, test_lineage().view());
  if ((flags & kChain) != 0) put_at(bytes, 64, previous_chain);
  bytes.resize(state::kSegmentDataOffset);
  bytes.append(batches);
  if (told > bytes.size()) bytes.resize(std::min<std::uint64_t>(told, kFileBytesMax));
  if ((flags & kLength) != 0) put_at<std::uint64_t>(bytes, 24, bytes.size());
  if ((flags & kChecksums) != 0) repair_segment(bytes);
  return bytes;
}

void put_segments(ByteReader& input, SimulatedDisk& disk) {
  std::uint32_t chain = 0;
  for (std::size_t number = 1; number <= kSegmentsMax && input.left() > 0; ++number) {
    const auto length = input.u<std::uint16_t>();
    const ByteView chunk = input.take(std::min<std::size_t>(length, input.left()));
    if (chunk.empty()) return;
    const auto flags = static_cast<std::uint8_t>(chunk[0]);
    Bytes bytes = segment_from(chunk.substr(1), flags, chain);
    chain = last_chain(bytes);
    const std::uint64_t first_lsn = (flags & kName) != 0 ? get_le<std::uint64_t>(bytes.data() + 56) : number;
    disk.put("J-" + std::to_string(first_lsn) + ".wal", std::move(bytes));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(ByteView(reinterpret_cast<const char*>(data), size));
  const std::uint64_t base_lsn = input.u<std::uint8_t>();
  const std::uint64_t until_lsn = input.u<std::uint8_t>();
  SimulatedDisk disk;
  put_segments(input, disk);
  const auto before = disk.files();
  std::size_t bytes = 0;
  for (const auto& [name, content] : before) bytes += content.size();

  const std::unique_ptr<state::Disk> face = disk.plug_in();
  Listener listener;
  const Result<state::JournalEnd> end =
      until_lsn == 0 ? state::read_journal(*face, test_lineage(), base_lsn, &listener)
                     : state::read_journal(*face, test_lineage(), base_lsn, &listener, until_lsn);
  TAP_ASSERT(disk.files() == before);
  std::size_t heard = 0;
  for (const std::string& record : listener.heard) heard += record.size();
  // A name that was introduced comes again with each record of 8 bytes.
  TAP_ASSERT(heard <= bytes + listener.heard.size() * bytes && listener.heard.size() <= bytes / 8);
  if (!end) {
    TAP_ASSERT(!end.error().message.empty());
    TAP_ASSERT(end.error().fault == Fault::damaged || end.error().fault == Fault::config);
    return 0;
  }
  TAP_ASSERT(end->records == listener.heard.size() && end->last_lsn >= base_lsn);
  if (!end->tear) return 0;
  TAP_ASSERT(state::cut_tear(*face, *end).ok());
  const Reading again = read_from(disk, test_lineage(), base_lsn);
  TAP_ASSERT(again.end.ok() && !again.end->tear && again.heard == listener.heard);
  return 0;
}
