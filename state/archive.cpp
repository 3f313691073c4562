#include "state/archive.hpp"

#include <algorithm>
#include <chrono>
#include <set>

#include "state/base/crc32c.hpp"

#ifndef TAP_VERSION
#define TAP_VERSION "0"
#endif

namespace tap::state {
namespace {

constexpr char kMagic[] = "\x89TAP\r\n\x1a\n";
constexpr char kEndMagic[] = "\n\x1a\r\nPAT\x89";
constexpr char kSectionMagic[] = "SECT";
constexpr std::size_t kMagicBytes = 8;
constexpr std::size_t kHeaderBytes = 192;
constexpr std::size_t kHeaderBytesMax = 4096;
constexpr std::size_t kSectionHeaderBytes = 40;
constexpr std::size_t kTableEntryBytes = 16;
constexpr std::size_t kTrailerBytes = 64;
constexpr std::size_t kDigestOffsetFromEnd = 40;
constexpr std::size_t kWriterBytes = 32;

constexpr std::uint64_t kKnownReadOnlyFeatures = 0;
constexpr std::uint64_t kKnownIncompatibleFeatures = 0;

enum class SectionType : std::uint32_t { definition = 1, state = 2, ancestors = 3, pending = 4 };

ByteView magic(const char* text) { return {text, kMagicBytes}; }

Error damaged(std::string why) { return Error{Fault::damaged, std::move(why)}; }

// --- writing ----------------------------------------------------------------------------------------------------

Bytes encode_header(const Archive& archive) {
  Bytes out(magic(kMagic));
  put_le<std::uint32_t>(out, kFormatVersion);
  put_le<std::uint32_t>(out, kHeaderBytes);
  put_le(out, archive.compatible_features);
  put_le(out, archive.read_only_features);
  put_le(out, archive.incompatible_features);
  out.append(archive.lineage.view());
  put_le(out, archive.generation);
  put_le(out, archive.base_lsn);
  put_le(out, archive.epoch);
  out.append(archive.parent.view());
  put_le(out, archive.parent_generation);
  out.append(archive.parent_digest.view());
  put_le(out, archive.created_ms);
  TAP_ASSERT(archive.writer.size() <= kWriterBytes);
  out.append(archive.writer);
  out.resize(kHeaderBytes - 4, '\0');
  put_le(out, crc32c(out));
  return out;
}

void append_section(Bytes& out, SectionType type, const Section& section) {
  TAP_ASSERT(section.service.size() <= kSectionNameBytesMax && section.kind.size() <= kSectionNameBytesMax);
  Bytes header(kSectionMagic);
  put_le(header, static_cast<std::uint32_t>(type));
  put_le(header, section.schema_version);
  put_le(header, static_cast<std::uint32_t>(section.codec));
  put_le(header, static_cast<std::uint32_t>(section.service.size()));
  put_le(header, static_cast<std::uint32_t>(section.kind.size()));
  put_le<std::uint64_t>(header, section.payload.size());
  put_le(header, crc32c(section.payload));
  put_le(header, crc32c(section.kind, crc32c(section.service, crc32c(header))));
  out.append(header).append(section.service).append(section.kind).append(section.payload);
}

/// Not less than encode_archive() gives.
std::size_t encoded_bytes_max(const Archive& archive) {
  constexpr std::size_t kSmallBytes = std::size_t{64} << 10U;  // header, definition, ancestors, trailer
  std::size_t bytes = kSmallBytes;
  for (const std::vector<Section>* sections : {&archive.sections, &archive.pending}) {
    for (const Section& section : *sections) {
      bytes += kSectionHeaderBytes + kTableEntryBytes + 2 * kSectionNameBytesMax + section.payload.size();
    }
  }
  return bytes;
}

Bytes encode_ancestors(const std::vector<Ancestor>& ancestors) {
  Bytes payload;
  for (const Ancestor& ancestor : ancestors) {
    put_le(payload, ancestor.generation);
    payload.append(ancestor.digest.data(), ancestor.digest.size());
  }
  return payload;
}

// --- reading ----------------------------------------------------------------------------------------------------

/// The header's own checks, in the order that gives the most useful refusal.
Result<std::size_t> check_header(ByteView bytes) {
  if (bytes.empty()) return damaged("the file is empty");
  const ByteView start = bytes.substr(0, kMagicBytes);
  if (start.size() < kMagicBytes && magic(kMagic).substr(0, start.size()) == start) {
    return damaged("the file is cut off after " + std::to_string(bytes.size()) + " bytes");
  }
  if (start != magic(kMagic)) {
    if (start.substr(0, 4) == magic(kMagic).substr(0, 4)) {
      return damaged("the magic number is damaged as by a transfer in text mode");
    }
    return damaged("this is not a tap archive (it does not begin with the magic number)");
  }
  ByteReader reader(bytes.substr(kMagicBytes));
  const auto version = reader.u<std::uint32_t>();
  const auto length = reader.u<std::uint32_t>();
  if (!reader.ok() || (length > bytes.size() && length <= kHeaderBytesMax)) {
    return damaged("the file is cut off in its header, after " + std::to_string(bytes.size()) + " bytes");
  }
  if (length < kMagicBytes + 12 || length > kHeaderBytesMax) return damaged("the header's length is damaged");
  const ByteView header = bytes.substr(0, length);
  if (crc32c(header.substr(0, length - 4)) != get_le<std::uint32_t>(header.data() + length - 4)) {
    return damaged("the header is damaged (CRC32C of its " + std::to_string(length) + " bytes is wrong)");
  }
  if (version > kFormatVersion) {
    return Error{Fault::config, "the archive has format version " + std::to_string(version) +
                                    ", this program knows versions up to " + std::to_string(kFormatVersion) +
                                    "; use the newer tapd that wrote it"};
  }
  if (version != kFormatVersion || length != kHeaderBytes) return damaged("the header has an unknown shape");
  return std::size_t{length};
}

Result<void> read_header(ByteView header, Archive& archive) {
  ByteReader reader(header.substr(kMagicBytes + 8));
  const auto copy = [&reader](auto& into) {
    const ByteView raw = reader.take(into.size());
    std::copy(raw.begin(), raw.end(), into.begin());
  };
  archive.compatible_features = reader.u<std::uint64_t>();
  archive.read_only_features = reader.u<std::uint64_t>();
  archive.incompatible_features = reader.u<std::uint64_t>();
  copy(archive.lineage.bytes);
  archive.generation = reader.u<std::uint64_t>();
  archive.base_lsn = reader.u<std::uint64_t>();
  archive.epoch = reader.u<std::uint64_t>();
  copy(archive.parent.bytes);
  archive.parent_generation = reader.u<std::uint64_t>();
  copy(archive.parent_digest.bytes);
  archive.created_ms = reader.u<std::uint64_t>();
  const ByteView writer = reader.take(kWriterBytes);
  archive.writer = std::string(writer.substr(0, writer.find('\0')));
  TAP_ASSERT(reader.ok());

  return check_features(archive);
}

struct Trailer {
  std::size_t table = 0;
  std::uint32_t count = 0;
};

Result<Trailer> check_trailer(ByteView bytes) {
  const auto cut = [&] {
    return damaged("the file is cut off: it ends after " + std::to_string(bytes.size()) + " bytes without a trailer");
  };
  if (bytes.size() < kHeaderBytes + kTrailerBytes) return cut();
  if (bytes.substr(bytes.size() - kMagicBytes) != magic(kEndMagic)) return cut();
  ByteReader reader(bytes.substr(bytes.size() - kTrailerBytes));
  const auto table = reader.u<std::uint64_t>();
  const auto count = reader.u<std::uint32_t>();
  const auto table_crc = reader.u<std::uint32_t>();
  const auto length = reader.u<std::uint64_t>();
  if (length != bytes.size()) {
    return damaged("the file has " + std::to_string(bytes.size()) + " bytes, its trailer says " +
                   std::to_string(length));
  }
  const std::uint64_t table_end = bytes.size() - kTrailerBytes;
  if (count > kSectionsMax || table < kHeaderBytes || table > table_end ||
      table_end - table != std::uint64_t{count} * kTableEntryBytes) {
    return damaged("the trailer does not fit the file");
  }
  if (crc32c(bytes.substr(table, table_end - table)) != table_crc) return damaged("the section table is damaged");
  return Trailer{static_cast<std::size_t>(table), count};
}

struct RawSection {
  std::uint32_t type = 0;
  Section section;   // without its payload
  ByteView payload;  // in the bytes that are read
};

Result<RawSection> read_section(ByteView bytes, std::size_t offset) {
  const auto broken = [offset](const std::string& what) {
    return damaged("the section at offset " + std::to_string(offset) + " is damaged (" + what + ")");
  };
  ByteReader reader(bytes);
  if (reader.take(4) != ByteView(kSectionMagic)) return broken("its magic number is wrong");
  RawSection raw;
  raw.type = reader.u<std::uint32_t>();
  raw.section.schema_version = reader.u<std::uint32_t>();
  const auto codec = reader.u<std::uint32_t>();
  const auto service_bytes = reader.u<std::uint32_t>();
  const auto kind_bytes = reader.u<std::uint32_t>();
  const auto payload_bytes = reader.u<std::uint64_t>();
  const auto payload_crc = reader.u<std::uint32_t>();
  const auto header_crc = reader.u<std::uint32_t>();
  if (service_bytes > kSectionNameBytesMax || kind_bytes > kSectionNameBytesMax)
    return broken("its names are too long");
  const ByteView service = reader.take(service_bytes);
  const ByteView kind = reader.take(kind_bytes);
  const ByteView payload = reader.take(payload_bytes);
  if (!reader.ok() || reader.left() != 0) return broken("its lengths do not fit");
  if (crc32c(kind, crc32c(service, crc32c(bytes.substr(0, kSectionHeaderBytes - 4)))) != header_crc) {
    return broken("CRC32C of its header is wrong");
  }
  if (crc32c(payload) != payload_crc) {
    return broken("service '" + std::string(service) + "', CRC32C of its payload is wrong");
  }
  if (codec != static_cast<std::uint32_t>(PayloadCodec::cereal)) {
    return Error{Fault::config, "the section of service '" + std::string(service) + "' uses codec " +
                                    std::to_string(codec) + ", which this program does not know"};
  }
  raw.section.service = std::string(service);
  raw.section.kind = std::string(kind);
  raw.payload = payload;
  return raw;
}

Result<std::vector<Ancestor>> read_ancestors(ByteView payload) {
  constexpr std::size_t kEntryBytes = 24;
  if (payload.size() % kEntryBytes != 0 || payload.size() > kAncestorsMax * kEntryBytes) {
    return damaged("the list of ancestors has a wrong length");
  }
  std::vector<Ancestor> ancestors;
  ByteReader reader(payload);
  while (reader.left() > 0) {
    Ancestor ancestor;
    ancestor.generation = reader.u<std::uint64_t>();
    const ByteView digest = reader.take(ancestor.digest.size());
    std::copy(digest.begin(), digest.end(), ancestor.digest.begin());
    ancestors.push_back(ancestor);
  }
  return ancestors;
}

/// Puts one section where it belongs in `archive`.
Result<void> accept_section(RawSection raw, Payloads payloads, Archive& archive, bool& has_definition) {
  switch (static_cast<SectionType>(raw.type)) {
    case SectionType::definition: {
      if (has_definition) return damaged("there are two definitions");
      Result<Definition> definition = decode_definition(raw.payload, raw.section.schema_version);
      if (!definition) return std::move(definition).error();
      archive.definition = std::move(definition).value();
      has_definition = true;
      return {};
    }
    case SectionType::ancestors: {
      if (raw.section.schema_version > 1) {
        return Error{Fault::config, "the list of ancestors has a newer schema than this program knows"};
      }
      if (!archive.ancestors.empty()) return damaged("there are two lists of ancestors");
      Result<std::vector<Ancestor>> ancestors = read_ancestors(raw.payload);
      if (!ancestors) return std::move(ancestors).error();
      archive.ancestors = std::move(ancestors).value();
      return {};
    }
    case SectionType::state:
      if (payloads == Payloads::copied) raw.section.payload = Bytes(raw.payload);
      if (archive.sections.size() == kStatesMax) return damaged("there are too many states");
      archive.sections.push_back(std::move(raw.section));
      return {};
    case SectionType::pending:
      if (payloads == Payloads::copied) raw.section.payload = Bytes(raw.payload);
      archive.pending.push_back(std::move(raw.section));
      return {};
  }
  return Error{Fault::config,
               "the archive has a section of type " + std::to_string(raw.type) + ", which this program does not know"};
}

Result<void> read_sections(ByteView bytes, const Trailer& trailer, Payloads payloads, Archive& archive) {
  ByteReader table(bytes.substr(trailer.table));
  std::uint64_t expected = kHeaderBytes;
  bool has_definition = false;
  std::set<std::string> names;
  for (std::uint32_t i = 0; i < trailer.count; ++i) {
    const auto offset = table.u<std::uint64_t>();
    const auto length = table.u<std::uint64_t>();
    if (offset != expected || length > trailer.table - offset) return damaged("the section table has gaps");
    expected += length;
    Result<RawSection> raw = read_section(bytes.substr(offset, length), offset);
    if (!raw) return std::move(raw).error();
    const bool is_state = raw->type == static_cast<std::uint32_t>(SectionType::state);
    if (is_state && !names.insert(raw->section.service).second) {
      return damaged("service '" + raw->section.service + "' has two sections");
    }
    Result<void> taken = accept_section(std::move(raw).value(), payloads, archive, has_definition);
    if (!taken) return taken;
  }
  if (expected != trailer.table) return damaged("bytes between the sections and their table belong to nothing");
  if (!has_definition) return damaged("there is no definition");
  return {};
}

}  // namespace

const Section* Archive::find(std::string_view service) const {
  const auto found = std::find_if(sections.begin(), sections.end(),
                                  [&](const Section& section) { return section.service == service; });
  return found == sections.end() ? nullptr : &*found;
}

Result<void> check_features(const Archive& archive) {
  const std::uint64_t unknown = (archive.incompatible_features & ~kKnownIncompatibleFeatures) |
                                (archive.read_only_features & ~kKnownReadOnlyFeatures);
  if (unknown == 0) return {};
  return Error{Fault::config, "the archive uses features this program does not know (bits " + std::to_string(unknown) +
                                  "); use the newer tapd that wrote it (" + archive.writer + ")"};
}

Bytes encode_archive(const Archive& archive) {
  TAP_ASSERT(archive.sections.size() + archive.pending.size() <= kStatesMax &&
             archive.ancestors.size() <= kAncestorsMax);
  Bytes out;
  out.reserve(encoded_bytes_max(archive));  // growing by doubling would copy a large payload once more
  out.append(encode_header(archive));
  Bytes table;
  const auto add = [&](SectionType type, const Section& section) {
    put_le<std::uint64_t>(table, out.size());
    const std::size_t before = out.size();
    append_section(out, type, section);
    put_le<std::uint64_t>(table, out.size() - before);
  };
  add(SectionType::definition, Section{"", "", definition_schema(archive.definition), PayloadCodec::cereal,
                                       encode_definition(archive.definition)});
  if (!archive.ancestors.empty()) {
    add(SectionType::ancestors, Section{"", "", 1, PayloadCodec::cereal, encode_ancestors(archive.ancestors)});
  }
  for (const Section& section : archive.sections) add(SectionType::state, section);
  for (const Section& section : archive.pending) add(SectionType::pending, section);

  const std::size_t table_offset = out.size();
  out.append(table);
  put_le<std::uint64_t>(out, table_offset);
  put_le(out, static_cast<std::uint32_t>(table.size() / kTableEntryBytes));
  put_le(out, crc32c(table));
  put_le<std::uint64_t>(out, out.size() + kTrailerBytes - 16);
  const Digest digest = sha256(out);
  out.append(digest.view());
  out.append(magic(kEndMagic));
  return out;
}

Result<Archive> decode_archive(ByteView bytes, Payloads payloads) {
  Result<std::size_t> header = check_header(bytes);
  if (!header) return std::move(header).error();
  Archive archive;
  if (Result<void> read = read_header(bytes.substr(0, *header), archive); !read) return std::move(read).error();
  Result<Trailer> trailer = check_trailer(bytes);
  if (!trailer) return std::move(trailer).error();
  // Sections first: their checksums name the service that is hit; the SHA-256 over everything has the last word.
  if (Result<void> read = read_sections(bytes, *trailer, payloads, archive); !read) return std::move(read).error();
  if (sha256(bytes.substr(0, bytes.size() - kDigestOffsetFromEnd)) != archive_digest(bytes)) {
    return damaged("the SHA-256 of the file is wrong");
  }
  return archive;
}

Digest archive_digest(ByteView bytes) {
  Digest digest;
  const ByteView raw = bytes.substr(bytes.size() - kDigestOffsetFromEnd, digest.bytes.size());
  std::copy(raw.begin(), raw.end(), digest.bytes.begin());
  return digest;
}

std::optional<std::uint64_t> archive_base_lsn(ByteView bytes) {
  Result<std::size_t> header = check_header(bytes);
  Archive archive;
  if (!header || !read_header(bytes.substr(0, *header), archive)) return std::nullopt;
  return archive.base_lsn;
}

std::optional<Definition> archive_definition(ByteView bytes) {
  if (!archive_base_lsn(bytes)) return std::nullopt;
  ByteReader reader(bytes.substr(kHeaderBytes));
  (void)reader.take(16);
  const std::uint64_t names_bytes = std::uint64_t{reader.u<std::uint32_t>()} + reader.u<std::uint32_t>();
  const auto payload_bytes = reader.u<std::uint64_t>();
  if (!reader.ok() || payload_bytes > bytes.size() || names_bytes > 2 * kSectionNameBytesMax) return std::nullopt;
  const std::uint64_t length =
      kSectionHeaderBytes + names_bytes + payload_bytes;  // a longer one does not fit its lengths
  Result<RawSection> raw = read_section(bytes.substr(kHeaderBytes, static_cast<std::size_t>(length)), kHeaderBytes);
  if (!raw || raw->type != static_cast<std::uint32_t>(SectionType::definition)) return std::nullopt;
  Result<Definition> definition = decode_definition(raw->payload, raw->section.schema_version);
  return definition ? std::optional(std::move(definition).value()) : std::nullopt;
}

Ancestor make_ancestor(std::uint64_t generation, const Digest& digest) {
  Ancestor ancestor{generation, {}};
  std::copy_n(digest.bytes.begin(), ancestor.digest.size(), ancestor.digest.begin());
  return ancestor;
}

void remember_ancestor(Archive& next, std::uint64_t generation, const Digest& digest) {
  if (next.ancestors.size() == kAncestorsMax) next.ancestors.erase(next.ancestors.begin() + 1);
  next.ancestors.push_back(make_ancestor(generation, digest));
}

Archive successor(const Archive& archive, const Digest& digest) {
  Archive next = successor_without_states(archive, digest);
  next.sections = archive.sections;
  next.pending = archive.pending;
  return next;
}

Archive successor_without_states(const Archive& archive, const Digest& digest) {
  Archive next;
  next.compatible_features = archive.compatible_features;
  next.read_only_features = archive.read_only_features;
  next.incompatible_features = archive.incompatible_features;
  next.lineage = archive.lineage;
  next.generation = archive.generation + 1;
  next.base_lsn = archive.base_lsn;
  next.epoch = archive.epoch;
  next.parent = archive.parent;
  next.parent_generation = archive.parent_generation;
  next.parent_digest = archive.parent_digest;
  next.created_ms = wall_clock_ms();
  next.writer = writer_name();
  next.ancestors = archive.ancestors;
  remember_ancestor(next, archive.generation, digest);
  next.definition = archive.definition;
  return next;
}

Archive child_of(const Archive& archive, const Digest& digest) {
  Archive child = archive;
  child.lineage = Lineage::make();
  child.parent = archive.lineage;
  child.parent_generation = archive.generation;
  child.parent_digest = digest;
  child.ancestors.clear();
  child.generation = archive.generation + 1;
  child.created_ms = wall_clock_ms();
  child.writer = writer_name();
  return child;
}

std::uint64_t wall_clock_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

std::string writer_name() { return std::string("tapd ") + TAP_VERSION; }

}  // namespace tap::state
