// Segment headers, batches and records as bytes; each kind of damage to them.
#include "state/journal_format.hpp"

#include <doctest/doctest.h>

#include "state/base/crc32c.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/journal_fixture.hpp"
#include "tests/state/says.hpp"

using tap::ByteReader;
using tap::Bytes;
using tap::ByteView;
using tap::Fault;
using tap::get_le;
using tap::tests::error_of;
using tap::tests::patch;
using tap::tests::says;
using namespace tap::state;

namespace {

SegmentHeader sample_header() {
  SegmentHeader header;
  header.block_bytes = 512;
  header.segment_bytes = 8192;
  header.lineage = tap::tests::test_lineage();
  header.epoch = 7;
  header.first_lsn = 42;
  header.previous_chain = 0xdeadbeef;
  header.salt.fill('s');
  header.writer = "tapd 0.1.0";
  return header;
}

/// `header` with another value somewhere, its checksum right again.
template <class Unsigned>
Bytes with(std::size_t at, Unsigned value) {
  Bytes bytes = encode_segment_header(sample_header());
  patch(bytes, at, value);
  patch(bytes, kSegmentHeaderBytes - 4, tap::crc32c(ByteView(bytes).substr(0, kSegmentHeaderBytes - 4)));
  return bytes;
}

BatchHeader batch_header(std::size_t record_bytes) {
  BatchHeader header;
  header.record_bytes = static_cast<std::uint32_t>(record_bytes);
  header.first_lsn = 43;
  header.lsn_count = 2;
  header.durable_lsn = 42;
  return header;
}

constexpr std::uint32_t kSeed = 0x1234;
constexpr std::uint32_t kChain = 0x5678;

Bytes one_batch(ByteView records, std::size_t block_bytes = 512) {
  Bytes out;
  std::uint32_t chain = kChain;
  append_batch(out, batch_header(records.size()), records, kSeed, block_bytes, chain);
  return out;
}

}  // namespace

TEST_CASE("journal format: a segment header reads back, and stands where FORMAT.md says") {
  const Bytes bytes = encode_segment_header(sample_header());
  REQUIRE(bytes.size() == 160);
  const auto back = decode_segment_header(bytes);
  REQUIRE(back.ok());
  CHECK((*back == sample_header()));
  CHECK(bytes.substr(0, 8) == "\x89TAW\r\n\x1a\n");
  CHECK(get_le<std::uint32_t>(bytes.data() + 8) == 1);
  CHECK(get_le<std::uint32_t>(bytes.data() + 12) == 160);
  CHECK(get_le<std::uint32_t>(bytes.data() + 16) == 512);
  CHECK(get_le<std::uint64_t>(bytes.data() + 24) == 8192);
  CHECK(bytes.substr(32, 16) == sample_header().lineage.view());
  CHECK(get_le<std::uint64_t>(bytes.data() + 48) == 7);
  CHECK(get_le<std::uint64_t>(bytes.data() + 56) == 42);
  CHECK(get_le<std::uint32_t>(bytes.data() + 64) == 0xdeadbeef);
  CHECK(bytes.substr(72, 16) == Bytes(16, 's'));
  CHECK(bytes.substr(88, 11) == Bytes("tapd 0.1.0\0", 11));
  CHECK(get_le<std::uint32_t>(bytes.data() + 156) == tap::crc32c(ByteView(bytes).substr(0, 156)));
}

TEST_CASE("journal format: every bit flip and every truncation of a segment header is refused, 65") {
  const Bytes whole = encode_segment_header(sample_header());
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    Bytes bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    CHECK_MESSAGE(error_of(decode_segment_header(bytes)).fault == Fault::damaged, bit);
  }
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CHECK_MESSAGE(error_of(decode_segment_header(whole.substr(0, length))).fault == Fault::damaged, length);
  }
}

TEST_CASE("journal format: a newer version is told from damage, 78, also when its header is longer") {
  const auto newer = error_of(decode_segment_header(with<std::uint32_t>(8, 2)));
  CHECK(newer.fault == Fault::config);
  CHECK(says(newer, "journal version 2"));
  Bytes longer = with<std::uint32_t>(8, 2);
  patch<std::uint32_t>(longer, 12, 300);
  longer.resize(296);
  tap::put_le(longer, tap::crc32c(longer));
  CHECK(error_of(decode_segment_header(longer)).fault == Fault::config);
}

TEST_CASE("journal format: a header with right checksum that makes no sense is refused, 65") {
  CHECK(error_of(decode_segment_header(with<std::uint32_t>(8, 0))).fault == Fault::damaged);
  CHECK(error_of(decode_segment_header(with<std::uint32_t>(16, 0))).fault == Fault::damaged);
  CHECK(error_of(decode_segment_header(with<std::uint32_t>(16, 513))).fault == Fault::damaged);
  CHECK(error_of(decode_segment_header(with<std::uint64_t>(56, 0))).fault == Fault::damaged);
}

TEST_CASE("journal format: the seed tells lineages, epochs, first LSNs and salts apart; the chain its beginning too") {
  const SegmentHeader header = sample_header();
  SegmentHeader other = header;
  other.epoch = 8;
  CHECK(segment_seed(other) != segment_seed(header));
  other = header;
  other.first_lsn = 43;
  CHECK(segment_seed(other) != segment_seed(header));
  other = header;
  other.salt[3] = 'x';
  CHECK(segment_seed(other) != segment_seed(header));
  other = header;
  other.lineage.bytes[0] = 'x';
  CHECK(segment_seed(other) != segment_seed(header));
  other = header;
  other.previous_chain = 1;
  CHECK(segment_seed(other) == segment_seed(header));
  CHECK(chain_start(other) != chain_start(header));
  CHECK((random_salt() != random_salt()));
}

TEST_CASE("journal format: a batch reads back, and fills whole blocks") {
  for (const std::size_t block_bytes : {std::size_t{512}, std::size_t{4096}}) {
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{464}, std::size_t{465}, std::size_t{9000}}) {
      const Bytes records(size, 'r');
      const Bytes bytes = one_batch(records, block_bytes);
      CHECK(bytes.size() % block_bytes == 0);
      CHECK(bytes.size() == padded_batch_bytes(size, block_bytes));
      const auto batch = batch_at(bytes, 0, kSeed, block_bytes, kChain);
      REQUIRE(batch.has_value());
      CHECK((batch->header == batch_header(size)));
      CHECK((batch->records == records));
      CHECK(batch->bytes == bytes.size());
    }
  }
  CHECK(padded_batch_bytes(464, 512) == 512);
  CHECK(padded_batch_bytes(465, 512) == 1024);
}

TEST_CASE("journal format: a batch stands where FORMAT.md says") {
  const Bytes bytes = one_batch("records");
  CHECK(bytes.substr(0, 4) == "BATC");
  CHECK(get_le<std::uint32_t>(bytes.data() + 8) == 7);
  CHECK(get_le<std::uint64_t>(bytes.data() + 16) == 43);
  CHECK(get_le<std::uint64_t>(bytes.data() + 24) == 2);
  CHECK(get_le<std::uint64_t>(bytes.data() + 32) == 42);
  CHECK(get_le<std::uint32_t>(bytes.data() + 40) == tap::crc32c(ByteView(bytes).substr(0, 40), kSeed));
  const std::uint32_t chain = tap::crc32c("records", tap::crc32c(ByteView(bytes).substr(0, 44), kChain));
  CHECK(get_le<std::uint32_t>(bytes.data() + 44) == chain);
  CHECK(bytes.substr(48, 7) == "records");
  CHECK(bytes.find_first_not_of('\0', 55) == Bytes::npos);
}

TEST_CASE("journal format: a batch of another seed, chain or offset is none") {
  const Bytes bytes = Bytes(512, '\0') + one_batch("records");
  CHECK(batch_at(bytes, 512, kSeed, 512, kChain).has_value());
  CHECK_FALSE(batch_at(bytes, 512, kSeed + 1, 512, kChain).has_value());
  CHECK_FALSE(batch_at(bytes, 512, kSeed, 512, kChain + 1).has_value());
  CHECK(batch_header_at(bytes, 512, kSeed).has_value());
  CHECK_FALSE(batch_header_at(bytes, 512, kSeed + 1).has_value());
  for (const std::size_t offset :
       {std::size_t{0}, std::size_t{511}, std::size_t{1000}, bytes.size(), bytes.size() + 1}) {
    CHECK_FALSE(batch_at(bytes, offset, kSeed, 512, kChain).has_value());
    CHECK_FALSE(batch_header_at(bytes, offset, kSeed).has_value());
  }
}

TEST_CASE("journal format: every bit flip of a batch, and every truncation, makes it none") {
  const Bytes records = "first record and the second record";
  const Bytes whole = one_batch(records);
  for (std::size_t bit = 0; bit < (kBatchHeaderBytes + records.size()) * 8; ++bit) {
    Bytes bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    CHECK_MESSAGE(!batch_at(bytes, 0, kSeed, 512, kChain).has_value(), bit);
  }
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CHECK_MESSAGE(!batch_at(ByteView(whole).substr(0, length), 0, kSeed, 512, kChain).has_value(), length);
  }
}

TEST_CASE("journal format: a batch whose records are damaged still shows its header") {
  Bytes bytes = one_batch("records");
  bytes[50] ^= 1;
  CHECK_FALSE(batch_at(bytes, 0, kSeed, 512, kChain).has_value());
  CHECK(batch_header_at(bytes, 0, kSeed).has_value());
}

TEST_CASE("journal format: a batch that claims more than there is, is none") {
  Bytes bytes = one_batch("records");
  for (const std::uint32_t claim : {512U, 4096U, 0xffffffffU}) {
    patch(bytes, 8, claim);
    patch(bytes, 40, tap::crc32c(ByteView(bytes).substr(0, 40), kSeed));
    CHECK(batch_header_at(bytes, 0, kSeed).has_value());
    CHECK_FALSE(batch_at(bytes, 0, kSeed, 512, kChain).has_value());
  }
}

TEST_CASE("journal format: records read back one after the other; a cut one is told") {
  Bytes bytes;
  append_record(bytes, RecordType::change, 3, "payload");
  append_record(bytes, RecordType::whole, 65'535, "");
  ByteReader reader(bytes);
  const Record first = read_record(reader);
  CHECK(first.type == RecordType::change);
  CHECK(first.number == 3);
  CHECK(first.payload == "payload");
  const Record second = read_record(reader);
  CHECK(second.type == RecordType::whole);
  CHECK(second.number == 65'535);
  CHECK(second.payload.empty());
  CHECK(reader.ok());
  CHECK(reader.left() == 0);
  for (std::size_t length = 1; length < kRecordHeaderBytes + 7; ++length) {
    ByteReader cut(ByteView(bytes).substr(0, length));
    (void)read_record(cut);
    CHECK_FALSE(cut.ok());
  }
}

TEST_CASE("journal format: an introduction reads back; one that is cut or has bytes left over is refused") {
  const Introduction whole{5, "name", "kind"};
  const Bytes bytes = encode_introduction(whole);
  const auto back = decode_introduction(bytes);
  REQUIRE(back.ok());
  CHECK((*back == whole));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CHECK(error_of(decode_introduction(ByteView(bytes).substr(0, length))).fault == Fault::damaged);
  }
  CHECK(error_of(decode_introduction(bytes + "x")).fault == Fault::damaged);
}
