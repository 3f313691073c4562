#include "tests/state/journal_fixture.hpp"

#include <algorithm>
#include <numeric>

#include "state/base/crc32c.hpp"

namespace tap::tests {
namespace {

constexpr std::size_t kHeaderCrcAt = 40;
constexpr std::size_t kChainAt = 44;

void put_u32(Bytes& bytes, std::size_t at, std::uint32_t value) {
  Bytes raw;
  put_le(raw, value);
  bytes.replace(at, raw.size(), raw);
}

std::string heard_text(const std::string& service, state::RecordType type, ByteView payload) {
  return service + "/" + std::to_string(static_cast<int>(type)) + "/" + std::string(payload);
}

}  // namespace

Result<void> Listener::replay(const state::Introduction& of, state::RecordType type, ByteView payload) {
  heard.push_back(heard_text(of.service, type, payload));
  return {};
}

Reading read_from(SimulatedDisk& disk, const state::Lineage& lineage, std::uint64_t base_lsn) {
  Listener listener;
  const std::unique_ptr<state::Disk> face = disk.plug_in();
  Result<state::JournalEnd> end = state::read_journal(*face, lineage, base_lsn, &listener);
  return {std::move(end), std::move(listener.heard)};
}

state::Lineage test_lineage() {
  state::Lineage lineage;
  std::iota(lineage.bytes.begin(), lineage.bytes.end(), char{1});
  return lineage;
}

JournalFixture::JournalFixture(std::size_t segment_bytes_given, std::size_t block_bytes)
    : disk(block_bytes), face(disk.plug_in()), segment_bytes(segment_bytes_given) {}

void JournalFixture::open() {
  const Reading reading = read();
  TAP_ASSERT(reading.end.ok());
  supply = std::make_unique<state::SegmentSupply>(*face, "J", segment_bytes);
  supply->adopt_leftover();
  state::JournalWriter::Start start;
  start.name = "J";
  start.lineage = test_lineage();
  start.epoch = epoch = reading.end->epoch + 1;
  start.last_lsn = reading.end->last_lsn;
  start.chain = reading.end->chain;
  start.services = {{1, "a", "kind"}, {1, "b", "kind"}};
  Result<std::unique_ptr<state::JournalWriter>> opened = state::JournalWriter::open(*face, *supply, std::move(start));
  TAP_ASSERT(opened.ok());
  writer = std::move(opened).value();
}

state::Batch JournalFixture::batch(const std::vector<std::string>& payloads, std::uint16_t number) const {
  state::Batch batch;
  batch.first_lsn = writer->last_lsn() + 1;
  batch.lsn_count = payloads.size();
  batch.services = {number};
  for (const std::string& payload : payloads) {
    state::append_record(batch.records, state::RecordType::change, number, payload);
  }
  return batch;
}

void JournalFixture::write(const std::vector<std::string>& payloads, std::uint16_t number) {
  const Result<void> done = writer->write(batch(payloads, number));
  TAP_ASSERT(done.ok());
  for (const std::string& payload : payloads) {
    written.push_back(heard_text(number == 0 ? "a" : "b", state::RecordType::change, payload));
  }
}

std::vector<std::string> JournalFixture::segments() {
  const Result<std::vector<state::SegmentFile>> found = state::list_segments(*face);
  TAP_ASSERT(found.ok());
  std::vector<std::string> names;
  for (const state::SegmentFile& segment : *found) names.push_back(segment.file);
  return names;
}

void repair_segment(Bytes& bytes) {
  if (bytes.size() < state::kSegmentHeaderBytes) return;
  put_u32(bytes, state::kSegmentHeaderBytes - 4, crc32c(ByteView(bytes).substr(0, state::kSegmentHeaderBytes - 4)));
  const Result<state::SegmentHeader> header = state::decode_segment_header(bytes);
  if (!header) return;
  const std::uint32_t seed = state::segment_seed(*header);
  std::uint32_t chain = state::chain_start(*header);
  std::size_t at = state::kSegmentDataOffset;
  while (at < bytes.size() && bytes.size() - at >= state::kBatchHeaderBytes && bytes.compare(at, 4, "BATC") == 0) {
    put_u32(bytes, at + kHeaderCrcAt, crc32c(ByteView(bytes).substr(at, kHeaderCrcAt), seed));
    const std::uint64_t records = get_le<std::uint32_t>(bytes.data() + at + 8);
    if (records > bytes.size() - at - state::kBatchHeaderBytes) return;
    const auto length = static_cast<std::size_t>(records);
    chain = crc32c(ByteView(bytes).substr(at, kChainAt), chain);
    chain = crc32c(ByteView(bytes).substr(at + state::kBatchHeaderBytes, length), chain);
    put_u32(bytes, at + kChainAt, chain);
    at += state::padded_batch_bytes(length, header->block_bytes);
  }
}

}  // namespace tap::tests
