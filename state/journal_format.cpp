#include "state/journal_format.hpp"

#include <sys/random.h>

#include <algorithm>

#include "state/base/crc32c.hpp"

namespace tap::state {
namespace {

constexpr char kMagic[] = "\x89TAW\r\n\x1a\n";
constexpr std::size_t kMagicBytes = 8;
constexpr char kBatchMagic[] = "BATC";
constexpr std::size_t kHeaderCrcAt = 40;
constexpr std::size_t kWriterBytes = 32;
constexpr std::size_t kHeaderBytesMax = 4096;

Error damaged(std::string why) { return Error{Fault::damaged, std::move(why)}; }

bool is_block_size(std::uint32_t bytes) { return bytes == 512 || bytes == 4096; }

}  // namespace

Bytes encode_segment_header(const SegmentHeader& header) {
  TAP_ASSERT(header.writer.size() <= kWriterBytes);
  Bytes out(kMagic, kMagicBytes);
  put_le<std::uint32_t>(out, kJournalVersion);
  put_le<std::uint32_t>(out, kSegmentHeaderBytes);
  put_le(out, header.block_bytes);
  put_le<std::uint32_t>(out, 0);
  put_le(out, header.segment_bytes);
  out.append(header.lineage.view());
  put_le(out, header.epoch);
  put_le(out, header.first_lsn);
  put_le(out, header.previous_chain);
  put_le<std::uint32_t>(out, 0);
  out.append(header.salt.data(), header.salt.size());
  out.append(header.writer);
  out.resize(kSegmentHeaderBytes - 4, '\0');
  put_le(out, crc32c(out));
  return out;
}

Result<SegmentHeader> decode_segment_header(ByteView bytes) {
  if (bytes.size() < kMagicBytes || bytes.substr(0, kMagicBytes) != ByteView(kMagic, kMagicBytes)) {
    return damaged("it does not begin with a segment's magic number");
  }
  ByteReader reader(bytes.substr(kMagicBytes));
  const auto version = reader.u<std::uint32_t>();
  const auto length = reader.u<std::uint32_t>();
  if (!reader.ok() || length < kMagicBytes + 12 || length > kHeaderBytesMax || length > bytes.size()) {
    return damaged("its header is cut off or damaged");
  }
  if (crc32c(bytes.substr(0, length - 4)) != get_le<std::uint32_t>(bytes.data() + length - 4)) {
    return damaged("its header is damaged (CRC32C is wrong)");
  }
  if (version > kJournalVersion) {
    return Error{Fault::config, "it has journal version " + std::to_string(version) + ", this program knows " +
                                    std::to_string(kJournalVersion) + "; use the newer tapd that wrote it"};
  }
  if (version != kJournalVersion || length != kSegmentHeaderBytes) return damaged("its header has an unknown shape");
  SegmentHeader header;
  header.block_bytes = reader.u<std::uint32_t>();
  (void)reader.u<std::uint32_t>();
  header.segment_bytes = reader.u<std::uint64_t>();
  const ByteView lineage = reader.take(header.lineage.bytes.size());
  std::copy(lineage.begin(), lineage.end(), header.lineage.bytes.begin());
  header.epoch = reader.u<std::uint64_t>();
  header.first_lsn = reader.u<std::uint64_t>();
  header.previous_chain = reader.u<std::uint32_t>();
  (void)reader.u<std::uint32_t>();
  const ByteView salt = reader.take(header.salt.size());
  std::copy(salt.begin(), salt.end(), header.salt.begin());
  const ByteView writer = reader.take(kWriterBytes);
  header.writer = std::string(writer.substr(0, writer.find('\0')));
  TAP_ASSERT(reader.ok());
  if (!is_block_size(header.block_bytes) || header.first_lsn == 0) return damaged("its header makes no sense");
  return header;
}

std::array<char, 16> random_salt() {
  std::array<char, 16> salt{};
  TAP_ASSERT(::getrandom(salt.data(), salt.size(), 0) == static_cast<ssize_t>(salt.size()));
  return salt;
}

std::uint32_t segment_seed(const SegmentHeader& header) {
  Bytes bytes(header.lineage.view());
  put_le(bytes, header.epoch);
  put_le(bytes, header.first_lsn);
  bytes.append(header.salt.data(), header.salt.size());
  return crc32c(bytes);
}

std::uint32_t chain_start(const SegmentHeader& header) {
  Bytes bytes;
  put_le(bytes, header.previous_chain);
  return crc32c(bytes, segment_seed(header));
}

std::size_t padded_batch_bytes(std::size_t record_bytes, std::size_t block_bytes) {
  return (kBatchHeaderBytes + record_bytes + block_bytes - 1) / block_bytes * block_bytes;
}

void append_batch(Bytes& out, const BatchHeader& header, ByteView records, std::uint32_t seed, std::size_t block_bytes,
                  std::uint32_t& chain) {
  TAP_ASSERT(header.record_bytes == records.size());
  const std::size_t begin = out.size();
  out.append(kBatchMagic, 4);
  put_le(out, header.flags);
  put_le(out, header.record_bytes);
  put_le<std::uint32_t>(out, 0);
  put_le(out, header.first_lsn);
  put_le(out, header.lsn_count);
  put_le(out, header.durable_lsn);
  put_le(out, crc32c(ByteView(out).substr(begin), seed));
  chain = crc32c(records, crc32c(ByteView(out).substr(begin), chain));
  put_le(out, chain);
  out.append(records);
  out.resize(begin + padded_batch_bytes(records.size(), block_bytes), '\0');
}

std::optional<BatchHeader> batch_header_at(ByteView segment, std::size_t offset, std::uint32_t seed) {
  if (offset > segment.size() || segment.size() - offset < kBatchHeaderBytes) return std::nullopt;
  const ByteView raw = segment.substr(offset, kBatchHeaderBytes);
  if (raw.substr(0, 4) != ByteView(kBatchMagic, 4)) return std::nullopt;
  if (crc32c(raw.substr(0, kHeaderCrcAt), seed) != get_le<std::uint32_t>(raw.data() + kHeaderCrcAt)) {
    return std::nullopt;
  }
  ByteReader reader(raw.substr(4));
  BatchHeader header;
  header.flags = reader.u<std::uint32_t>();
  header.record_bytes = reader.u<std::uint32_t>();
  (void)reader.u<std::uint32_t>();
  header.first_lsn = reader.u<std::uint64_t>();
  header.lsn_count = reader.u<std::uint64_t>();
  header.durable_lsn = reader.u<std::uint64_t>();
  return header;
}

std::optional<ParsedBatch> batch_at(ByteView segment, std::size_t offset, std::uint32_t seed, std::size_t block_bytes,
                                    std::uint32_t chain) {
  const std::optional<BatchHeader> header = batch_header_at(segment, offset, seed);
  if (!header) return std::nullopt;
  const std::size_t begin = offset + kBatchHeaderBytes;
  if (header->record_bytes > segment.size() - begin) return std::nullopt;
  ParsedBatch batch{*header, segment.substr(begin, header->record_bytes), chain, 0};
  batch.chain = crc32c(batch.records, crc32c(segment.substr(offset, kHeaderCrcAt + 4), chain));
  if (batch.chain != get_le<std::uint32_t>(segment.data() + offset + kHeaderCrcAt + 4)) return std::nullopt;
  batch.bytes = padded_batch_bytes(header->record_bytes, block_bytes);
  if (batch.bytes > segment.size() - offset) return std::nullopt;
  return batch;
}

void append_record(Bytes& out, RecordType type, std::uint16_t number, ByteView payload) {
  out.push_back(static_cast<char>(type));
  out.push_back('\0');
  put_le(out, number);
  put_le(out, static_cast<std::uint32_t>(payload.size()));
  out.append(payload);
}

Bytes encode_introduction(const Introduction& introduction) {
  Bytes out;
  put_le(out, introduction.schema_version);
  put_le(out, static_cast<std::uint16_t>(introduction.service.size()));
  put_le(out, static_cast<std::uint16_t>(introduction.kind.size()));
  out.append(introduction.service).append(introduction.kind);
  return out;
}

Result<Introduction> decode_introduction(ByteView payload) {
  ByteReader reader(payload);
  Introduction introduction;
  introduction.schema_version = reader.u<std::uint32_t>();
  const auto service_bytes = reader.u<std::uint16_t>();
  const auto kind_bytes = reader.u<std::uint16_t>();
  introduction.service = std::string(reader.take(service_bytes));
  introduction.kind = std::string(reader.take(kind_bytes));
  if (!reader.ok() || reader.left() != 0) return damaged("an introduction does not fit its length");
  return introduction;
}

Record read_record(ByteReader& reader) {
  Record record;
  record.type = static_cast<RecordType>(reader.u<std::uint8_t>());
  (void)reader.u<std::uint8_t>();
  record.number = reader.u<std::uint16_t>();
  record.payload = reader.take(reader.u<std::uint32_t>());
  return record;
}

}  // namespace tap::state
