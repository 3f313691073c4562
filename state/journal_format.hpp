// Journal format: segments, batches and records as bytes. Values only; who reads and writes files is in journal.hpp.
//
// Format: state/FORMAT.md, section 5.
// Tests: tests/state/journal_format_test.cpp
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "state/base/bytes.hpp"
#include "state/base/result.hpp"
#include "state/digest.hpp"

namespace tap::state {

inline constexpr std::uint32_t kJournalVersion = 1;
inline constexpr std::size_t kSegmentHeaderBytes = 160;
/// Where the first batch begins, whatever the block size is.
inline constexpr std::size_t kSegmentDataOffset = 4096;
inline constexpr std::size_t kBatchHeaderBytes = 48;
inline constexpr std::size_t kRecordHeaderBytes = 8;
inline constexpr std::size_t kServicesMax = 65'535;

/// What a segment says of itself, durable before its first batch.
struct SegmentHeader {
  std::uint32_t block_bytes = 4096;  ///< batches begin at multiples of it
  std::uint64_t segment_bytes = 0;   ///< the file's length; one that is shorter is damaged
  Lineage lineage;
  std::uint64_t epoch = 0;
  std::uint64_t first_lsn = 1;       ///< of its first record; also in the file's name
  std::uint32_t previous_chain = 0;  ///< where the checksum chain of the segment before ended
  std::array<char, 16> salt{};       ///< random: what an earlier life of the same file left behind cannot pass for ours
  std::string writer;                ///< at most 32 bytes

  bool operator==(const SegmentHeader&) const = default;
};

[[nodiscard]] Bytes encode_segment_header(const SegmentHeader& header);
/// Errors: damaged; config, for a newer version.
[[nodiscard]] Result<SegmentHeader> decode_segment_header(ByteView bytes);
[[nodiscard]] std::array<char, 16> random_salt();

/// What the header's checksums of this segment's batches begin with.
[[nodiscard]] std::uint32_t segment_seed(const SegmentHeader& header);
/// The chain before the segment's first batch.
[[nodiscard]] std::uint32_t chain_start(const SegmentHeader& header);

enum BatchFlags : std::uint32_t {
  kBarrier = 1,  ///< no records: says only that what is before it was durable
  kSeal = 2,     ///< the segment ends here, and everything is in it
};

struct BatchHeader {
  std::uint32_t flags = 0;
  std::uint32_t record_bytes = 0;
  std::uint64_t first_lsn = 1;
  std::uint64_t lsn_count = 0;    ///< the batch holds the LSNs [first_lsn, first_lsn + lsn_count)
  std::uint64_t durable_lsn = 0;  ///< the last LSN known to be durable when this was written

  [[nodiscard]] std::uint64_t last_lsn() const { return first_lsn + lsn_count - 1; }
  bool operator==(const BatchHeader&) const = default;
};

/// Bytes on the disk of a batch with so many bytes of records.
[[nodiscard]] std::size_t padded_batch_bytes(std::size_t record_bytes, std::size_t block_bytes);

/// Appends the whole batch, padded with zeros, to `out`. `chain` is the chain before it and becomes the one after it.
void append_batch(Bytes& out, const BatchHeader& header, ByteView records, std::uint32_t seed, std::size_t block_bytes,
                  std::uint32_t& chain);

struct ParsedBatch {
  BatchHeader header;
  ByteView records;
  std::uint32_t chain = 0;  ///< after it
  std::size_t bytes = 0;    ///< on the disk
};

/// Whether a batch's header of this segment stands at `offset`: its own checksum is right. Says nothing of its records.
[[nodiscard]] std::optional<BatchHeader> batch_header_at(ByteView segment, std::size_t offset, std::uint32_t seed);

/// The batch at `offset` if every bit of it is right; nullopt otherwise.
[[nodiscard]] std::optional<ParsedBatch> batch_at(ByteView segment, std::size_t offset, std::uint32_t seed,
                                                  std::size_t block_bytes, std::uint32_t chain);

enum class RecordType : std::uint8_t {
  introduction = 1,  ///< tells what a service's number means in this segment
  change = 2,        ///< a change, for the kind's apply()
  whole = 3,         ///< the whole state, as a section's payload
};

/// Who a record belongs to.
struct Introduction {
  std::uint32_t schema_version = 1;
  std::string service;
  std::string kind;

  bool operator==(const Introduction&) const = default;
};

struct Record {
  RecordType type = RecordType::change;
  std::uint16_t number = 0;  ///< of the service
  ByteView payload;
};

void append_record(Bytes& out, RecordType type, std::uint16_t number, ByteView payload);
[[nodiscard]] Bytes encode_introduction(const Introduction& introduction);
[[nodiscard]] Result<Introduction> decode_introduction(ByteView payload);
/// The next record; the reader's ok() is false afterwards when there was none that fits.
[[nodiscard]] Record read_record(ByteReader& reader);

}  // namespace tap::state
