// Heads that a filter-proxy sends on: whatever was read, what is written is read by the same parser as one message of
// the same framing, without a field of one hop and without a cookie where they are blocked, and writing it again
// changes nothing.
//
// The input: one byte of flags (1: a response, 2: cookies are blocked), then a head.
#include <cstddef>
#include <cstdint>
#include <string>

#include "services/filter_proxy/forwarding.hpp"
#include "services/net/http/parser.hpp"
#include "services/net/http/syntax.hpp"
#include "state/base/assert.hpp"

namespace {

using namespace tap;
using namespace tap::services;

constexpr std::string_view kUs = "tapd-us";

/// No field that concerns one hop, none that frames, none that is a cookie where these are blocked.
void check_fields(const net::HttpHead& head, bool strip, std::string_view cookie) {
  for (const net::HttpField& field : head.fields) {
    for (const std::string_view name : {"connection", "keep-alive", "te", "upgrade", "trailer", "proxy-connection",
                                        "proxy-authorization", "content_length", "transfer_encoding"}) {
      TAP_ASSERT(!net::same_ignoring_case(field.name, name));
    }
    if (!strip) continue;
    TAP_ASSERT(!net::same_ignoring_case(field.name, cookie) &&
               !net::same_ignoring_case(field.name, std::string(cookie) + '2'));
  }
}

void check_request(std::string_view input, bool strip) {
  net::HttpRequestParser parser;
  if (parser.next(input) != net::HttpEvent::head) return;
  const net::HttpRequestHead& head = parser.head();
  Target target;
  if (head.is("CONNECT")) {
    (void)read_tunnel_target(head, kUs, target);
    return;
  }
  if (read_target(head, kUs, target)) return;
  TAP_ASSERT(!target.host.empty() && target.port != 0 && !target.path.empty());
  (void)asks_for_image(head, target.path);
  net::HttpFields fields;
  (void)rewrite_request(head, {kUs, strip}, fields);
  const std::string sent = std::string(head.method) + " " + std::string(target.path) +
                           " HTTP/1.1\r\nHost: " + target.authority + "\r\n" + fields.text() +
                           (head.chunked ? "Transfer-Encoding: chunked\r\n" : "") + "\r\n";
  net::HttpRequestParser again;
  std::string_view rest = sent;
  const net::HttpEvent event = again.next(rest);
  // What is sent may be a little longer than what came, and so meet a limit.
  if (event == net::HttpEvent::failed && (again.failure().status == 431 || again.failure().status == 414)) return;
  TAP_ASSERT(event == net::HttpEvent::head && rest.empty());
  TAP_ASSERT(again.head().method == head.method && again.head().chunked == head.chunked &&
             !again.head().content_length);
  TAP_ASSERT(!again.head().expects_continue && !again.head().upgrade);
  check_fields(again.head(), strip, "cookie");
  // Its own name is in Via now: it would know the request again.
  Target looped;
  const std::string to_proxy = std::string(head.method) + " http://" + target.authority +
                               "/ HTTP/1.1\r\nHost: " + target.authority + "\r\n" + fields.text() + "\r\n";
  net::HttpRequestParser third;
  rest = to_proxy;
  if (third.next(rest) != net::HttpEvent::head) return;
  const auto refused = read_target(third.head(), kUs, looped);
  TAP_ASSERT(refused && refused->status == 508);
}

void check_response(std::string_view input, bool strip) {
  net::HttpResponseParser parser;
  if (parser.next(input) != net::HttpEvent::head) return;
  (void)is_image(parser.head());
  net::HttpAnswerHead answer(parser.head().status);
  (void)rewrite_response(parser.head(), {kUs, strip}, answer);
  const std::string sent =
      "HTTP/1.1 " + std::to_string(parser.head().status) + " x\r\n" + answer.fields().text() + "\r\n";
  net::HttpResponseParser again;
  std::string_view rest = sent;
  const net::HttpEvent event = again.next(rest);
  if (event == net::HttpEvent::failed && again.failure().status == 431) return;
  TAP_ASSERT(event == net::HttpEvent::head && rest.empty());
  TAP_ASSERT(!again.head().chunked && !again.head().content_length);
  check_fields(again.head(), strip, "set-cookie");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool strip = (data[0] & 2U) != 0;
  if ((data[0] & 1U) != 0) check_response(input, strip);
  else check_request(input, strip);
  return 0;
}
