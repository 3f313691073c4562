// The filter-proxy service: an HTTP/1.1 forward proxy that blocks connections, images and cookies by rules per host.
//
// Rules: rules.hpp. What is rewritten on the way: forwarding.hpp. Source: RFC 9110, RFC 9112; the filtering proxy of
// the Twisted articles.
// Tests: tests/services/filter_proxy/, tests/end_to_end/filter_proxy_test.cpp
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind filter_proxy_kind();

}  // namespace tap::services
