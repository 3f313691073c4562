// Damage of every kind to an archive's bytes: first what no checksum covers any more, then what has right checksums.
#include <doctest/doctest.h>

#include <set>

#include "state/archive.hpp"
#include "tests/state/allocations.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/says.hpp"

using tap::Bytes;
using tap::ByteView;
using tap::Error;
using tap::Fault;
using tap::state::decode_archive;
using tap::state::encode_archive;
using tap::tests::build_archive;
using tap::tests::definition_image;
using tap::tests::error_of;
using tap::tests::patch;
using tap::tests::repair_checksums;
using tap::tests::sample_archive;
using tap::tests::says;
using tap::tests::SectionImage;

namespace {

constexpr std::size_t kFirstSection = 192;

Bytes sample_bytes() { return encode_archive(sample_archive()); }

/// The refusal of sample bytes with one change, their checksums right again.
template <class Unsigned>
Error error_of_patched(std::size_t at, Unsigned value) {
  Bytes bytes = sample_bytes();
  patch(bytes, at, value);
  repair_checksums(bytes);
  return error_of(decode_archive(bytes));
}

Error error_of_sections(const std::vector<SectionImage>& sections) {
  return error_of(decode_archive(build_archive(sections)));
}

SectionImage state_image(const std::string& service) {
  SectionImage image;
  image.service = service;
  image.kind = "echo";
  return image;
}

}  // namespace

TEST_CASE("archive: every truncation is refused") {
  const Bytes bytes = sample_bytes();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const Error error = error_of(decode_archive(ByteView(bytes).substr(0, size)));
    REQUIRE_MESSAGE(error.fault == Fault::damaged, "size ", size);
    REQUIRE_MESSAGE(says(error, size == 0 ? "the file is empty" : "cut off"), error.message);
  }
}

TEST_CASE("archive: every single-bit flip is refused as damage") {
  const Bytes bytes = sample_bytes();
  REQUIRE(bytes.size() < 2000);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    Bytes flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const Error error = error_of(decode_archive(flipped));
    REQUIRE_MESSAGE(error.fault == Fault::damaged, "bit ", bit, ": ", error.message);
    REQUIRE_FALSE(error.message.empty());
  }
}

TEST_CASE("archive: every byte turned to 0x00 or 0xff is refused as damage") {
  const Bytes bytes = sample_bytes();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const char value : {'\0', '\xff'}) {
      if (bytes[at] == value) continue;
      Bytes changed = bytes;
      changed[at] = value;
      REQUIRE_MESSAGE(error_of(decode_archive(changed)).fault == Fault::damaged, "offset ", at);
    }
  }
}

TEST_CASE("archive: a hole of 16 zeros anywhere is refused as damage") {
  const Bytes bytes = sample_bytes();
  for (std::size_t at = 0; at + 16 <= bytes.size(); ++at) {
    Bytes changed = bytes;
    changed.replace(at, 16, 16, '\0');
    if (changed == bytes) continue;
    REQUIRE_MESSAGE(error_of(decode_archive(changed)).fault == Fault::damaged, "offset ", at);
  }
}

TEST_CASE("archive: bytes behind its end, a missing byte and a doubled file are refused") {
  const Bytes bytes = sample_bytes();
  for (const Bytes& more : {Bytes(1, '\0'), Bytes(1, '\n'), Bytes(64, '\0'), bytes, bytes.substr(bytes.size() - 64)}) {
    const Error error = error_of(decode_archive(bytes + more));
    CHECK(error.fault == Fault::damaged);
  }
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    REQUIRE(error_of(decode_archive(Bytes(bytes).erase(at, 1))).fault == Fault::damaged);
  }
}

TEST_CASE("archive: each kind of damage has words of its own") {
  const Bytes bytes = sample_bytes();
  Bytes crlf;
  for (const char c : bytes) c == '\n' ? crlf.append("\r\n") : crlf.append(1, c);
  Bytes lf = bytes;
  std::erase(lf, '\r');
  Bytes header = bytes;
  header[60] = '!';
  Bytes payload = bytes;
  payload[payload.find("payload")] = '!';
  Bytes table = bytes;
  table[table.size() - 65] ^= 1;
  Bytes length = bytes;
  length[length.size() - 48] ^= 1;
  Bytes hash = bytes;
  hash[hash.size() - 20] ^= 1;
  const std::vector<std::pair<Bytes, std::string>> cases{
      {"", "the file is empty"},
      {"Hello, this is a text file.\n", "this is not a tap archive"},
      {Bytes(500, '\0'), "this is not a tap archive"},
      {crlf, "text mode"},
      {lf, "text mode"},
      {bytes.substr(0, 5), "cut off after 5 bytes"},
      {bytes.substr(0, 100), "cut off in its header, after 100 bytes"},
      {bytes.substr(0, bytes.size() - 9), "without a trailer"},
      {header, "the header is damaged (CRC32C of its 192 bytes is wrong)"},
      {payload, "service 'fib', CRC32C of its payload is wrong"},
      {table, "the section table is damaged"},
      {length, "its trailer says"},
      {hash, "the SHA-256 of the file is wrong"},
  };
  for (const auto& [damaged, words] : cases) {
    const Error error = error_of(decode_archive(damaged));
    CHECK(error.fault == Fault::damaged);
    CHECK_MESSAGE(says(error, words), error.message);
  }
}

TEST_CASE("archive: one byte of text in front of the magic number is not an archive") {
  CHECK(says(error_of(decode_archive("T" + sample_bytes())), "this is not a tap archive"));
  CHECK(says(error_of(decode_archive("x")), "this is not a tap archive"));
  CHECK(says(error_of(decode_archive("\x89")), "cut off after 1 bytes"));
}

TEST_CASE("archive: repairing the checksums of untouched bytes changes nothing") {
  Bytes bytes = sample_bytes();
  repair_checksums(bytes);
  CHECK(bytes == sample_bytes());
}

TEST_CASE("archive: a newer format version is 78 and named") {
  const Error error = error_of_patched<std::uint32_t>(8, 2);
  CHECK(error.fault == Fault::config);
  CHECK(says(error, "format version 2"));
  CHECK(says(error, "newer tapd"));
  CHECK(error_of_patched<std::uint32_t>(8, 0xffffffff).fault == Fault::config);
}

TEST_CASE("archive: a newer format is recognised with any length of header and whatever follows it") {
  for (const std::uint32_t length : {20U, 64U, 191U, 193U, 512U, 4096U}) {
    Bytes bytes("\x89TAP\r\n\x1a\n");
    tap::put_le<std::uint32_t>(bytes, 3);
    tap::put_le(bytes, length);
    bytes.resize(5000, 'n');
    repair_checksums(bytes);
    const Error error = error_of(decode_archive(bytes));
    CHECK_MESSAGE(error.fault == Fault::config, length);
    CHECK(says(error, "format version 3"));
  }
}

TEST_CASE("archive: version 0 and a header of another length are damage") {
  CHECK(error_of_patched<std::uint32_t>(8, 0).fault == Fault::damaged);
  for (const std::uint32_t length : {0U, 19U, 20U, 188U, 196U, 4097U, 0xffffffffU}) {
    CHECK_MESSAGE(error_of_patched<std::uint32_t>(12, length).fault == Fault::damaged, length);
  }
}

TEST_CASE("archive: an unknown incompatible or read-only feature is 78, an unknown compatible one is ignored") {
  for (const std::size_t at : {24U, 32U}) {
    for (int bit = 0; bit < 64; ++bit) {
      const Error error = error_of_patched<std::uint64_t>(at, std::uint64_t{1} << bit);
      REQUIRE(error.fault == Fault::config);
      REQUIRE(says(error, "features this program does not know"));
      REQUIRE(says(error, "tapd 0.1.0"));
    }
  }
  Bytes bytes = sample_bytes();
  patch<std::uint64_t>(bytes, 16, 0x8000000000000001);
  repair_checksums(bytes);
  const auto archive = decode_archive(bytes);
  REQUIRE(archive.ok());
  CHECK(archive->compatible_features == 0x8000000000000001);
}

TEST_CASE("archive: an unknown section type or codec is 78 and named") {
  const Error type = error_of_patched<std::uint32_t>(kFirstSection + 4, 9);
  CHECK(type.fault == Fault::config);
  CHECK(says(type, "section of type 9"));
  CHECK(error_of_patched<std::uint32_t>(kFirstSection + 4, 0).fault == Fault::config);
  SectionImage state = state_image("fib");
  state.codec = 2;
  const Error codec = error_of_sections({definition_image("A"), state});
  CHECK(codec.fault == Fault::config);
  CHECK(says(codec, "service 'fib' uses codec 2"));
}

TEST_CASE("archive: a newer schema of the definition or of the ancestors is 78") {
  CHECK(error_of_patched<std::uint32_t>(kFirstSection + 8, 3).fault == Fault::config);
  SectionImage ancestors;
  ancestors.type = 3;
  ancestors.schema_version = 2;
  ancestors.payload = Bytes(24, '\1');
  CHECK(error_of_sections({definition_image("A"), ancestors}).fault == Fault::config);
}

TEST_CASE("archive: names and lists beyond their limits are refused") {
  SectionImage state = state_image(std::string(256, 's'));
  CHECK(says(error_of_sections({definition_image("A"), state}), "names are too long"));
  state = state_image("a");
  state.kind = std::string(256, 'k');
  CHECK(says(error_of_sections({definition_image("A"), state}), "names are too long"));
  SectionImage ancestors;
  ancestors.type = 3;
  for (const std::size_t size : {std::size_t{257 * 24}, std::size_t{1}, std::size_t{23}, std::size_t{25}}) {
    ancestors.payload = Bytes(size, '\0');
    const Error error = error_of_sections({definition_image("A"), ancestors});
    CHECK(error.fault == Fault::damaged);
    CHECK(says(error, "ancestors has a wrong length"));
  }
}

TEST_CASE("archive: no definition, two of them, two sections of a service, two lists of ancestors are refused") {
  CHECK(says(error_of_sections({}), "there is no definition"));
  CHECK(says(error_of_sections({state_image("a")}), "there is no definition"));
  CHECK(says(error_of_sections({definition_image("A"), definition_image("B")}), "there are two definitions"));
  CHECK(says(error_of_sections({definition_image("A"), state_image("a"), state_image("a")}), "'a' has two sections"));
  SectionImage ancestors;
  ancestors.type = 3;
  ancestors.payload = Bytes(24, '\1');
  CHECK(error_of_sections({definition_image("A"), ancestors, ancestors}).fault == Fault::damaged);
}

TEST_CASE("archive: sections with gaps, overlaps or wrong lengths are refused") {
  const Bytes good = build_archive({definition_image("A"), state_image("a")});
  const std::size_t trailer = good.size() - 64;
  const std::size_t table = trailer - 32;
  const auto second_offset = tap::get_le<std::uint64_t>(good.data() + table + 16);
  const auto second_length = tap::get_le<std::uint64_t>(good.data() + table + 24);
  const auto refused = [&](std::size_t at, std::uint64_t value) {
    Bytes bytes = good;
    patch(bytes, at, value);
    repair_checksums(bytes);
    return error_of(decode_archive(bytes)).fault == Fault::damaged;
  };
  for (const std::uint64_t value : {std::uint64_t{0}, second_offset - 1, second_offset + 1, ~std::uint64_t{0}}) {
    CHECK(refused(table + 16, value));
  }
  for (const std::uint64_t value : {std::uint64_t{0}, second_length - 1, second_length + 1, ~std::uint64_t{0}}) {
    CHECK(refused(table + 24, value));
  }
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{192}, std::uint64_t{table - 16},
                                    std::uint64_t{table + 16}, std::uint64_t{trailer + 1}, ~std::uint64_t{0}}) {
    CHECK(refused(trailer, value));
  }
  Bytes gap = good;
  gap.insert(table, 8, '\0');
  patch<std::uint64_t>(gap, trailer + 8, table + 8);
  repair_checksums(gap);
  CHECK(says(error_of(decode_archive(gap)), "belong to nothing"));
}

TEST_CASE("archive: lengths that claim more than there is cost no memory") {
  const Bytes bytes = sample_bytes();
  const std::size_t trailer = bytes.size() - 64;
  const std::vector<std::size_t> lengths{trailer, trailer - 8, trailer - 16, kFirstSection + 16, kFirstSection + 24};
  for (const std::size_t at : lengths) {
    for (const std::uint64_t value : {~std::uint64_t{0}, std::uint64_t{1} << 62U, std::uint64_t{1} << 40U}) {
      Bytes hostile = bytes;
      patch(hostile, at, value);
      repair_checksums(hostile);
      const tap::tests::AllocationWatch watch;
      CHECK(error_of(decode_archive(hostile)).fault == Fault::damaged);
      CHECK(watch.largest() < 10'000);
    }
  }
  Bytes sections = bytes;
  patch<std::uint32_t>(sections, trailer + 8, 0xffffffff);
  repair_checksums(sections);
  CHECK(says(error_of(decode_archive(sections)), "the trailer does not fit"));
}

TEST_CASE("archive: a definition that does not decode is refused, right checksums or not") {
  SectionImage definition = definition_image("A");
  definition.payload += '\0';
  CHECK(says(error_of_sections({definition}), "the application's definition: 1 bytes follow"));
  definition.payload = Bytes(8, '\xff');
  CHECK(error_of_sections({definition}).fault == Fault::damaged);
}
