// EndpointFields: takes the parts of an endpoint string apart; for the parsers of server and client endpoints.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "services/net/endpoint.hpp"
#include "state/base/suggest.hpp"

namespace tap::net {

[[nodiscard]] inline Error endpoint_error(std::string_view text, const std::string& why) {
  return Error{Fault::config, "endpoint '" + std::string(text) + "': " + why};
}

/// The whole of `digits` as a number of at most `max`; no sign, no space.
[[nodiscard]] inline std::optional<unsigned> endpoint_number(std::string_view digits, int base, unsigned max) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (error != std::errc{} || end != digits.data() + digits.size() || number > max) return std::nullopt;
  return number;
}

/// Takes what it understands out of a text; what is left at the end is an error.
/// Lifetime: the text outlives it.
class EndpointFields {
 public:
  EndpointFields(std::string_view text, EndpointText parts) : text_(text), parts_(std::move(parts)) {}

  /// The next value. Errors: config: "it needs `what`".
  Result<std::string> value(const char* what) {
    if (parts_.values.empty() || parts_.values.front().empty()) {
      return endpoint_error(text_, std::string("it needs ") + what);
    }
    std::string value = parts_.values.front();
    parts_.values.erase(parts_.values.begin());
    return value;
  }
  std::optional<std::string> option(const std::string& name) {
    const auto found = parts_.options.find(name);
    known_.push_back(name);
    if (found == parts_.options.end()) return std::nullopt;
    std::string value = found->second;
    parts_.options.erase(found);
    return value;
  }
  /// The file that an option names; empty when it is not there. Errors: config, for a name that is empty.
  Result<std::string> file(const std::string& name) {
    std::optional<std::string> path = option(name);
    if (!path) return std::string();
    if (path->empty()) return endpoint_error(text_, name + " names no file");
    return std::move(*path);
  }
  Result<void> nothing_left() {
    if (!parts_.values.empty()) return endpoint_error(text_, "'" + parts_.values.front() + "' is one value too many");
    if (!parts_.options.empty()) {
      const std::string& name = parts_.options.begin()->first;
      return endpoint_error(text_, "it has no option '" + name + "'" + did_you_mean(name, known_));
    }
    return {};
  }

 private:
  std::string_view text_;
  EndpointText parts_;
  std::vector<std::string> known_;
};

/// "h2,http/1.1" as its parts. Errors: config: a name is 1 to 255 bytes, and there are at most 16 (RFC 7301).
[[nodiscard]] Result<std::vector<std::string>> split_alpn(std::string_view text, const std::string& names);

}  // namespace tap::net
