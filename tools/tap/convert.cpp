#include <fcntl.h>

#include <cstdio>
#include <filesystem>
#include <optional>

#include "state/files.hpp"
#include "tools/tap/commands.hpp"

namespace tap::tools {
namespace {

enum class Format { tap, json, xml };

Result<Format> format_of(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  if (extension == ".tap") return Format::tap;
  if (extension == ".json") return Format::json;
  if (extension == ".xml") return Format::xml;
  return Error{Fault::usage, path + ": the extension says the format, it is .tap, .json or .xml"};
}

state::TextFormat text_format(Format format) {
  return format == Format::json ? state::TextFormat::json : state::TextFormat::xml;
}

}  // namespace

Result<void> convert(const std::string& from, const std::string& to, std::uint32_t format_version,
                     const services::Registry& kinds) {
  if (format_version != 0 && format_version != state::kFormatVersion) {
    return Error{format_version > state::kFormatVersion ? Fault::config : Fault::usage,
                 "--format-version: this program writes version " + std::to_string(state::kFormatVersion) +
                     ", the only one there is"};
  }
  Result<Format> from_format = format_of(from);
  if (!from_format) return std::move(from_format).error();
  Result<Format> to_format = format_of(to);
  if (!to_format) return std::move(to_format).error();
  Result<Bytes> bytes = state::read_file(AT_FDCWD, from);
  if (!bytes) return std::move(bytes).error();
  Result<state::Archive> archive = *from_format == Format::tap
                                       ? state::decode_archive(*bytes)
                                       : state::from_text(*bytes, text_format(*from_format), state_types(kinds));
  if (!archive) return std::move(archive.error()).with(from);
  if (*to_format == Format::tap) return state::replace_path(to, state::encode_archive(*archive));
  Result<std::string> text = state::to_text(*archive, text_format(*to_format), state_types(kinds));
  if (!text) return std::move(text.error()).with(from);
  return state::replace_path(to, *text);
}

}  // namespace tap::tools
