#include "state/text.hpp"

#include <algorithm>
#include <cereal/external/base64.hpp>
#include <set>
#include <sstream>

#include "state/definition_serialize.hpp"
#include "state/text_codec.hpp"
#include "state/text_depth.hpp"

namespace tap::state {
namespace {

constexpr std::string_view kBase64Prefix = "base64:";

/// The length of the UTF-8 sequence at `at`, or 0 when it is none (RFC 3629: no overlong forms, no surrogates).
std::size_t utf8_sequence(std::string_view bytes, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || bytes.size() - at < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f)) return 0;
  if ((lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f)) return 0;
  return length;
}

bool is_plain_text(std::string_view bytes) {
  if (bytes.substr(0, kBase64Prefix.size()) == kBase64Prefix) return false;
  // XML drops white space at the ends unless it is told otherwise; encoded, nothing depends on that.
  if (!bytes.empty() && (bytes.front() == ' ' || bytes.back() == ' ')) return false;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = utf8_sequence(bytes, at);
    const auto lead = static_cast<unsigned char>(bytes[at]);
    if (length == 0 || lead < 0x20 || lead == 0x7f) return false;
    // U+FFFE and U+FFFF are well-formed UTF-8, but XML 1.0 has no place for them.
    if (length == 3 && bytes.substr(at, 2) == "\xef\xbf" && static_cast<unsigned char>(bytes[at + 2]) >= 0xbe) {
      return false;
    }
    at += length;
  }
  return true;
}

bool is_base64(std::string_view text) {
  const std::size_t pad = text.find('=');
  const std::string_view digits = text.substr(0, pad);
  const std::string_view padding = pad == std::string_view::npos ? std::string_view{} : text.substr(pad);
  return text.size() % 4 == 0 && (padding.empty() || padding == "=" || padding == "==") &&
         std::all_of(digits.begin(), digits.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
         });
}

std::string encode_base64(std::string_view bytes) {
  return cereal::base64::encode(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

/// One service's section, its state inlined where the kind is known.
struct SectionDocument {
  Section section;
  const StateTypes* types = nullptr;
  bool pending = false;  ///< journal records that wait for their service, not a state

  template <class Output>
  void save(Output& output) const {
    const StateType* type = pending ? nullptr : (*types)(section.kind);
    const std::string encoding = pending ? "records" : type != nullptr ? "cereal" : "base64";
    // A known state is read and written again, so it leaves in the newest schema.
    const std::uint32_t version = type != nullptr ? type->schema_version() : section.schema_version;
    output(cereal::make_nvp("service", section.service), cereal::make_nvp("kind", section.kind),
           cereal::make_nvp("schema_version", version), cereal::make_nvp("encoding", encoding));
    if (type == nullptr) {
      output(cereal::make_nvp("state", encode_base64(section.payload)));
      return;
    }
    TextOutput text;
    if constexpr (std::is_same_v<Output, cereal::JSONOutputArchive>) text.json = &output;
    else text.xml = &output;
    type->write_text(text, section.payload, section.schema_version);
  }

  template <class Input>
  void load(Input& input) {
    std::string encoding;
    input(cereal::make_nvp("service", section.service), cereal::make_nvp("kind", section.kind),
          cereal::make_nvp("schema_version", section.schema_version), cereal::make_nvp("encoding", encoding));
    if (section.service.size() > kSectionNameBytesMax || section.kind.size() > kSectionNameBytesMax) {
      throw CodecRefusal("a service's name or kind is longer than " + std::to_string(kSectionNameBytesMax));
    }
    const StateType* type = (*types)(section.kind);
    pending = encoding == "records";
    if (encoding == "base64" || pending) {
      std::string text;
      input(cereal::make_nvp("state", text));
      if (!is_base64(text)) throw CodecRefusal("the state of service '" + section.service + "' is not base64");
      section.payload = cereal::base64::decode(text);
    } else if (encoding == "cereal" && type != nullptr) {
      if (section.schema_version != type->schema_version()) {
        throw CodecRefusal("the state of service '" + section.service + "' has schema version " +
                           std::to_string(section.schema_version) + ", this program writes " +
                           std::to_string(type->schema_version()));
      }
      TextInput text;
      if constexpr (std::is_same_v<Input, cereal::JSONInputArchive>) text.json = &input;
      else text.xml = &input;
      section.payload = type->read_text(text);
    } else {
      throw CodecRefusal("the state of service '" + section.service + "' is of kind '" + section.kind +
                         "', encoded as '" + encoding + "', which this program does not know");
    }
  }
};

/// The sections, written as cereal writes a vector; its elements need to know the kinds, so they are made here.
struct SectionList {
  std::vector<Section>& sections;
  std::vector<Section>& pending;
  const StateTypes* types;

  template <class Output>
  void save(Output& output) const {
    output(cereal::make_size_tag(static_cast<cereal::size_type>(sections.size() + pending.size())));
    for (const Section& section : sections) output(SectionDocument{section, types});
    for (const Section& section : pending) output(SectionDocument{section, types, true});
  }

  template <class Input>
  void load(Input& input) {
    cereal::size_type count = 0;
    input(cereal::make_size_tag(count));
    if (count > kStatesMax) throw CodecRefusal("there are too many services");
    std::set<std::string> names;
    for (cereal::size_type i = 0; i < count; ++i) {
      SectionDocument document{{}, types};
      input(document);
      if (document.pending) {
        pending.push_back(std::move(document.section));
        continue;
      }
      if (!names.insert(document.section.service).second) {
        throw CodecRefusal("service '" + document.section.service + "' has two sections");
      }
      sections.push_back(std::move(document.section));
    }
  }
};

struct AncestorDocument {
  std::uint64_t generation = 0;
  std::string digest;

  template <class Format>
  void serialize(Format& format) {
    format(CEREAL_NVP(generation), CEREAL_NVP(digest));
  }
};

/// Hexadecimal text into a fixed array.
template <std::size_t Size>
void parse_hex(const std::string& text, std::array<char, Size>& into, const char* what) {
  Bytes raw;
  if (!from_hex(text, raw) || raw.size() != Size) throw CodecRefusal(std::string(what) + " is not hexadecimal");
  std::copy(raw.begin(), raw.end(), into.begin());
}

/// An archive in the shape that people read.
struct ArchiveDocument {
  Archive archive;
  const StateTypes* types = nullptr;

  template <class Output>
  void save(Output& output) const {
    std::vector<AncestorDocument> ancestors;
    for (const Ancestor& ancestor : archive.ancestors) {
      ancestors.push_back({ancestor.generation, to_hex({ancestor.digest.data(), ancestor.digest.size()})});
    }
    std::vector<Section> sections = archive.sections;
    std::vector<Section> pending = archive.pending;
    const SectionList services{sections, pending, types};
    output(cereal::make_nvp("format_version", kFormatVersion),
           cereal::make_nvp("compatible_features", archive.compatible_features),
           cereal::make_nvp("read_only_features", archive.read_only_features),
           cereal::make_nvp("incompatible_features", archive.incompatible_features),
           cereal::make_nvp("lineage", archive.lineage.text()), cereal::make_nvp("generation", archive.generation),
           cereal::make_nvp("base_lsn", archive.base_lsn), cereal::make_nvp("epoch", archive.epoch),
           cereal::make_nvp("parent", archive.parent.text()),
           cereal::make_nvp("parent_generation", archive.parent_generation),
           cereal::make_nvp("parent_digest", archive.parent_digest.text()),
           cereal::make_nvp("created_ms", archive.created_ms), cereal::make_nvp("writer", archive.writer),
           cereal::make_nvp("ancestors", ancestors));
    with_schema(archive.definition, [&](const auto& schema) { output(cereal::make_nvp("definition", schema)); });
    output(cereal::make_nvp("services", services));
  }

  template <class Input>
  void load(Input& input) {
    std::uint32_t format_version = 0;
    std::string lineage;
    std::string parent;
    std::string parent_digest;
    std::vector<AncestorDocument> ancestors;
    SectionList services{archive.sections, archive.pending, types};
    NewestDefinition definition;
    input(cereal::make_nvp("format_version", format_version));
    if (format_version != kFormatVersion) {
      throw CodecRefusal("format version " + std::to_string(format_version) + " is not known to this program");
    }
    input(cereal::make_nvp("compatible_features", archive.compatible_features),
          cereal::make_nvp("read_only_features", archive.read_only_features),
          cereal::make_nvp("incompatible_features", archive.incompatible_features),
          cereal::make_nvp("lineage", lineage), cereal::make_nvp("generation", archive.generation),
          cereal::make_nvp("base_lsn", archive.base_lsn), cereal::make_nvp("epoch", archive.epoch),
          cereal::make_nvp("parent", parent), cereal::make_nvp("parent_generation", archive.parent_generation),
          cereal::make_nvp("parent_digest", parent_digest), cereal::make_nvp("created_ms", archive.created_ms),
          cereal::make_nvp("writer", archive.writer), cereal::make_nvp("ancestors", ancestors),
          cereal::make_nvp("definition", definition), cereal::make_nvp("services", services));
    archive.definition = std::move(definition.value);
    if (archive.writer.size() > 32) throw CodecRefusal("the writer's name is longer than 32 bytes");
    parse_lineage(lineage, archive.lineage);
    parse_lineage(parent, archive.parent);
    parse_hex(parent_digest, archive.parent_digest.bytes, "the parent's digest");
    if (ancestors.size() > kAncestorsMax) throw CodecRefusal("there are more than 256 ancestors");
    for (const AncestorDocument& ancestor : ancestors) {
      archive.ancestors.push_back({ancestor.generation, {}});
      parse_hex(ancestor.digest, archive.ancestors.back().digest, "an ancestor's digest");
    }
  }

  static void parse_lineage(const std::string& text, Lineage& into) {
    Result<Lineage> parsed = Lineage::parse(text);
    if (!parsed) throw CodecRefusal(parsed.error().message);
    into = *parsed;
  }
};

}  // namespace

std::string to_plain_text(std::string_view bytes) {
  if (is_plain_text(bytes)) return std::string(bytes);
  return std::string(kBase64Prefix) + encode_base64(bytes);
}

std::string from_plain_text(std::string text) {
  if (text.compare(0, kBase64Prefix.size(), kBase64Prefix) != 0) return text;
  const std::string_view encoded = std::string_view(text).substr(kBase64Prefix.size());
  if (!is_base64(encoded)) throw CodecRefusal("'" + text.substr(0, 40) + "' is not base64");
  return cereal::base64::decode(std::string(encoded));
}

Result<std::string> to_text(const Archive& archive, TextFormat format, const StateTypes& types) {
  try {
    std::ostringstream stream;
    const ArchiveDocument document{archive, &types};
    if (format == TextFormat::json) {
      cereal::JSONOutputArchive output(stream);
      output(cereal::make_nvp("tapd", document));
    } else {
      cereal::XMLOutputArchive output(stream);
      output(cereal::make_nvp("tapd", document));
    }
    std::string text = stream.str();
    if (text.empty() || text.back() != '\n') text += '\n';
    return text;
  } catch (const std::exception& refusal) {
    return Error{Fault::damaged, refusal.what()};
  }
}

Result<Archive> from_text(const std::string& text, TextFormat format, const StateTypes& types) {
  if (Result<void> depth = check_text_depth(text, format); !depth) return std::move(depth).error();
  if (text.find('\0') != std::string::npos) return Error{Fault::damaged, "the text holds a NUL byte"};
  try {
    std::istringstream stream(text);
    ArchiveDocument document{{}, &types};
    if (format == TextFormat::json) {
      cereal::JSONInputArchive input(stream);
      input(cereal::make_nvp("tapd", document));
    } else {
      cereal::XMLInputArchive input(stream);
      input(cereal::make_nvp("tapd", document));
    }
    if (Result<void> known = check_features(document.archive); !known) return std::move(known).error();
    return std::move(document.archive);
  } catch (const std::exception& refusal) {
    return Error{Fault::damaged, std::string("the text is not an archive: ") + refusal.what()};
  }
}

}  // namespace tap::state
