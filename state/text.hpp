// Text: an archive as JSON or XML and back, without loss, by cereal's own text archives.
//
// For people and their tools (`tap show --json`, `tap convert`); the daemon never reads text. States of kinds that
// this program does not know are carried as base64.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "state/archive.hpp"
#include "state/state_codec.hpp"

namespace tap::state {

enum class TextFormat { json, xml };

/// The state type of a kind, or nullptr when the kind is unknown or has no state.
using StateTypes = std::function<const StateType*(std::string_view kind)>;

/// Errors: damaged, when a section does not decode as its kind's state.
[[nodiscard]] Result<std::string> to_text(const Archive& archive, TextFormat format, const StateTypes& types);

/// Errors: damaged, with what cereal says of the text. Nesting deeper than kTextDepthMax is refused before it parses.
[[nodiscard]] Result<Archive> from_text(const std::string& text, TextFormat format, const StateTypes& types);

inline constexpr int kTextDepthMax = 512;

}  // namespace tap::state
