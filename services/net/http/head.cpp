#include "services/net/http/head.hpp"

#include <algorithm>
#include <array>

#include "services/net/http/syntax.hpp"

namespace tap::net {

const HttpField* HttpHead::find(std::string_view name) const {
  for (const HttpField& field : fields) {
    if (same_ignoring_case(field.name, name)) return &field;
  }
  return nullptr;
}

std::string_view HttpHead::value(std::string_view name) const {
  const HttpField* field = find(name);
  return field == nullptr ? std::string_view() : field->value;
}

bool HttpHead::lists(std::string_view name, std::string_view member) const {
  for (const HttpField& field : fields) {
    if (!same_ignoring_case(field.name, name)) continue;
    std::string_view rest = field.value;
    std::string_view next;
    while (next_list_member(rest, next)) {
      if (same_ignoring_case(next, member)) return true;
    }
  }
  return false;
}

bool HttpHead::hop_by_hop(std::string_view name) const {
  constexpr std::array<std::string_view, 10> kHopByHop{"connection",
                                                       "proxy-connection",
                                                       "keep-alive",
                                                       "te",
                                                       "transfer-encoding",
                                                       "upgrade",
                                                       "trailer",
                                                       "proxy-authenticate",
                                                       "proxy-authorization",
                                                       "proxy-authentication-info"};
  return std::any_of(kHopByHop.begin(), kHopByHop.end(),
                     [&](std::string_view one) { return same_ignoring_case(one, name); }) ||
         lists("connection", name);
}

}  // namespace tap::net
