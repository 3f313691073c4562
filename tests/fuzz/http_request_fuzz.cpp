// Requests are understood the same however they are cut, and what the parser takes a strict second look finds in order.
// Flag 1: the end of the input is the end of the connection.
#include <string>

#include "services/net/http/syntax.hpp"
#include "tests/fuzz/http_fuzz.hpp"

namespace {

/// What no accepted head may contain.
void check_heads(std::string_view bytes, const tap::net::HttpLimits& limits) {
  using tap::net::HttpEvent;
  tap::net::HttpRequestParser parser(limits);
  for (;;) {
    const HttpEvent event = parser.next(bytes);
    if (event == HttpEvent::need_more || event == HttpEvent::failed) return;
    if (event == HttpEvent::end) {
      if (parser.head().is("CONNECT")) return;
      parser.restart();
    }
    if (event != HttpEvent::head) continue;
    const tap::net::HttpRequestHead& head = parser.head();
    TAP_ASSERT(head.fields.size() <= limits.fields_max);
    TAP_ASSERT(!head.chunked || (!head.content_length && head.minor_version == 1));
    TAP_ASSERT(head.minor_version == 0 || head.find("host") != nullptr);
    for (const tap::net::HttpField& field : head.fields) {
      TAP_ASSERT(tap::net::is_token(field.name));
      TAP_ASSERT(tap::net::all_of_class(field.value, tap::net::http_bytes::kText));
    }
    TAP_ASSERT(tap::net::all_of_class(head.target, tap::net::http_bytes::kTarget));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tap::tests;
  const tap::net::HttpLimits limits = fuzz_limits();
  compare_cuts(data, size, [&](std::string_view bytes, const std::vector<std::size_t>& cuts) {
    return request_transcript(bytes, cuts, (data[0] & 1U) != 0, limits);
  });
  if (size >= 2) check_heads({reinterpret_cast<const char*>(data) + 2, size - 2}, limits);
  return 0;
}
