// Whatever is accepted as JSON or XML is an archive: it can be written as bytes and as text, and reads back the same.
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>

#include "state/text.hpp"
#include "tests/state/everything.hpp"

namespace {

using tap::state::Archive;
using tap::state::TextFormat;
using tap::tests::Everything;

const tap::state::StateType* types(std::string_view kind) {
  return kind == "everything" ? &tap::tests::everything_codec() : nullptr;
}

/// Text keeps neither the order of what has none, nor which of the many not-a-numbers one was.
bool is_exact(const Archive& archive, std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  if (text.find("nan") != std::string::npos) return false;
  return std::none_of(archive.sections.begin(), archive.sections.end(), [](const tap::state::Section& section) {
    Everything value;
    return section.kind == "everything" &&
           tap::tests::everything_codec().decode(section.payload, section.schema_version, value).ok() &&
           tap::tests::has_unordered(value);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const TextFormat format = !text.empty() && text.front() == '<' ? TextFormat::xml : TextFormat::json;
  const auto archive = tap::state::from_text(text, format, types);
  if (!archive.ok()) {
    TAP_ASSERT(archive.error().fault == tap::Fault::damaged || archive.error().fault == tap::Fault::config);
    return 0;
  }
  const tap::Bytes bytes = tap::state::encode_archive(*archive);
  TAP_ASSERT(tap::state::decode_archive(bytes).ok());
  // A state of a known kind may have been given as base64 that is none; only that is refused when it is written again.
  const auto again = tap::state::to_text(*archive, format, types);
  if (!again.ok()) return 0;
  const auto back = tap::state::from_text(*again, format, types);
  TAP_ASSERT(back.ok());
  TAP_ASSERT(!is_exact(*archive, *again) || tap::state::encode_archive(*back) == bytes);
  return 0;
}
