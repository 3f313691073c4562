#include "tests/state/archive_samples.hpp"

#include <numeric>

#include "state/base/crc32c.hpp"

namespace tap::tests {
namespace {

constexpr std::size_t kHeaderBytes = 192;
constexpr std::size_t kSectionHeaderBytes = 40;
constexpr std::size_t kTrailerBytes = 64;

std::uint64_t u64_at(const Bytes& bytes, std::size_t at) { return get_le<std::uint64_t>(bytes.data() + at); }
std::uint32_t u32_at(const Bytes& bytes, std::size_t at) { return get_le<std::uint32_t>(bytes.data() + at); }

void repair_header(Bytes& bytes) {
  const std::size_t length = u32_at(bytes, 12);
  if (length < 20 || length > 4096 || length > bytes.size()) return;
  patch(bytes, length - 4, crc32c(ByteView(bytes).substr(0, length - 4)));
}

void repair_section(Bytes& bytes, std::size_t offset, std::size_t length) {
  const std::uint64_t service = u32_at(bytes, offset + 16);
  const std::uint64_t kind = u32_at(bytes, offset + 20);
  if (service + kind > length - kSectionHeaderBytes) return;
  const auto names = static_cast<std::size_t>(service + kind);
  const ByteView section = ByteView(bytes).substr(offset, length);
  patch(bytes, offset + 32, crc32c(section.substr(kSectionHeaderBytes + names)));
  const std::uint32_t head = crc32c(ByteView(bytes).substr(offset, 36));
  patch(bytes, offset + 36, crc32c(ByteView(bytes).substr(offset + kSectionHeaderBytes, names), head));
}

void repair_sections(Bytes& bytes) {
  const std::size_t trailer = bytes.size() - kTrailerBytes;
  const std::uint64_t table = u64_at(bytes, trailer);
  if (table > trailer) return;
  const auto from = static_cast<std::size_t>(table);
  for (std::size_t entry = from; entry + 16 <= trailer; entry += 16) {
    const std::uint64_t offset = u64_at(bytes, entry);
    const std::uint64_t length = u64_at(bytes, entry + 8);
    const bool fits = offset <= table && length <= table - offset && length >= kSectionHeaderBytes;
    if (fits) repair_section(bytes, static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
  }
  patch(bytes, trailer + 12, crc32c(ByteView(bytes).substr(from, trailer - from)));
}

}  // namespace

state::Definition sample_definition() {
  state::Definition definition;
  definition.name = "Sample";
  definition.durability = "shutdown";
  definition.stop_timeout_ms = 2500;
  definition.services.push_back(
      {"fib", "fibonacci", {"tcp:8888", "unix:/run/f.sock"}, "shutdown", 100, 3000, {{"framing", "line"}}});
  definition.services.push_back({"echo", "echo", {}, "", 7, 0, {}});
  return definition;
}

state::Archive sample_archive() {
  state::Archive archive;
  std::iota(archive.lineage.bytes.begin(), archive.lineage.bytes.end(), char{1});
  archive.generation = 7;
  archive.base_lsn = 5;
  archive.epoch = 3;
  std::iota(archive.parent.bytes.begin(), archive.parent.bytes.end(), char{33});
  archive.parent_generation = 4;
  archive.parent_digest = state::sha256("parent");
  archive.created_ms = 1'700'000'000'123;
  archive.writer = "tapd 0.1.0";
  archive.ancestors = {state::make_ancestor(5, state::sha256("five")), state::make_ancestor(6, state::sha256("six"))};
  archive.definition = sample_definition();
  archive.sections.push_back({"fib", "fibonacci", 1, state::PayloadCodec::cereal, Bytes("\0\1\2payload", 10)});
  archive.sections.push_back({"echo", "echo", 3, state::PayloadCodec::cereal, ""});
  return archive;
}

SectionImage definition_image(const std::string& name) {
  state::Definition definition;
  definition.name = name;
  return {1, 1, 1, "", "", state::encode_definition(definition)};
}

Bytes build_archive(const std::vector<SectionImage>& sections) {
  Bytes out("\x89TAP\r\n\x1a\n");
  put_le<std::uint32_t>(out, 1);
  put_le<std::uint32_t>(out, kHeaderBytes);
  out.resize(kHeaderBytes, '\0');
  patch<std::uint64_t>(out, 56, 1);
  Bytes table;
  for (const SectionImage& section : sections) {
    put_le<std::uint64_t>(table, out.size());
    put_le<std::uint64_t>(table,
                          kSectionHeaderBytes + section.service.size() + section.kind.size() + section.payload.size());
    out += "SECT";
    for (const std::uint32_t value : {section.type, section.schema_version, section.codec}) put_le(out, value);
    put_le(out, static_cast<std::uint32_t>(section.service.size()));
    put_le(out, static_cast<std::uint32_t>(section.kind.size()));
    put_le<std::uint64_t>(out, section.payload.size());
    put_le<std::uint64_t>(out, 0);
    out.append(section.service).append(section.kind).append(section.payload);
  }
  const std::size_t table_offset = out.size();
  out += table;
  put_le<std::uint64_t>(out, table_offset);
  put_le(out, static_cast<std::uint32_t>(sections.size()));
  out.append(kTrailerBytes - 12 - 8, '\0');
  out.append("\n\x1a\r\nPAT\x89", 8);
  repair_checksums(out);
  return out;
}

void repair_checksums(Bytes& bytes) {
  if (bytes.size() < kHeaderBytes + kTrailerBytes) return;
  repair_header(bytes);
  repair_sections(bytes);
  patch<std::uint64_t>(bytes, bytes.size() - 48, bytes.size());
  const state::Digest digest = state::sha256(ByteView(bytes).substr(0, bytes.size() - 40));
  bytes.replace(bytes.size() - 40, 32, digest.view());
}

}  // namespace tap::tests
