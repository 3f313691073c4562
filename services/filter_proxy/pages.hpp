// Pages: what a person sees in the place of what was blocked, or cannot be had.
#pragma once

#include <string>
#include <string_view>

#include "services/net/http/server_protocol.hpp"

namespace tap::services {

/// A small page: what happened, to what, and why. Everything that comes from outside is escaped.
[[nodiscard]] std::string page_text(int status, std::string_view subject, std::string_view reason);
/// Answers with it. Nobody may keep it: rules change.
void answer_with_page(net::HttpAnswer& answer, int status, std::string_view subject, std::string_view reason);

}  // namespace tap::services
