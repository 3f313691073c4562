#include "tests/services/net/http/transcript.hpp"

namespace tap::tests {
namespace {

using net::HttpEvent;

std::string describe(const net::HttpRequestHead& head) {
  std::string text(head.method);
  text.append(" ").append(head.path).append(" ").append(head.authority).append(" ").append(head.scheme);
  if (head.expects_continue) text += " continue?";
  return text;
}

std::string describe(const net::HttpResponseHead& head) {
  return std::to_string(head.status) + " " + std::string(head.reason);
}

void append_head(std::string& out, const net::HttpHead& head, const std::string& first) {
  out += first + " 1." + std::to_string(head.minor_version) + (head.keep_alive ? " keep" : " close") +
         (head.upgrade ? " upgrade" : "") + "\n";
  for (const net::HttpField& field : head.fields) {
    out.append("  ").append(field.name).append("=").append(field.value).append("\n");
  }
}

/// `Parser`: one of the two; `again` says whether another message may follow this one.
template <class Parser, class Again>
std::string transcript(Parser& parser, std::string_view input, const std::vector<std::size_t>& cuts, bool finish,
                       Again again) {
  std::string out;
  std::string body;
  bool stopped = false;
  const auto handle = [&](HttpEvent event) {
    switch (event) {
      case HttpEvent::need_more:
        break;
      case HttpEvent::head:
        append_head(out, parser.head(), describe(parser.head()));
        break;
      case HttpEvent::body:
        body += parser.body();
        break;
      case HttpEvent::end:
        if (!body.empty()) out += "  body(" + std::to_string(body.size()) + ")=" + body + "\n";
        body.clear();
        out += "end\n";
        stopped = !again(parser.head());
        if (!stopped) parser.restart();
        break;
      case HttpEvent::failed:
        // What has come of the body is told too: it must not depend on the cuts.
        if (!body.empty()) out += "  part(" + std::to_string(body.size()) + ")=" + body + "\n";
        out += "!" + std::to_string(parser.failure().status) + " " + parser.failure().reason + "\n";
        stopped = true;
        break;
    }
  };
  const auto deliver = [&](std::string_view piece) {
    HttpEvent event = HttpEvent::head;
    while (!stopped && event != HttpEvent::need_more) {
      event = parser.next(piece);
      handle(event);
    }
  };
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    deliver(input.substr(at, cut - at));
    at = cut;
  }
  deliver(input.substr(at));
  if (stopped) return out;
  if (finish) handle(parser.finish());
  else if (!parser.between_messages()) out += "...\n";
  return out;
}

}  // namespace

std::string request_transcript(std::string_view input, const std::vector<std::size_t>& cuts, bool finish,
                               const net::HttpLimits& limits) {
  net::HttpRequestParser parser(limits);
  return transcript(parser, input, cuts, finish,
                    [](const net::HttpRequestHead& head) { return head.method != "CONNECT"; });
}

std::string response_transcript(std::string_view input, const std::vector<std::size_t>& cuts, bool finish, bool to_head,
                                const net::HttpLimits& limits) {
  net::HttpResponseParser parser(limits);
  parser.answering_head(to_head);
  return transcript(parser, input, cuts, finish, [](const net::HttpResponseHead&) { return true; });
}

std::vector<std::size_t> every_byte(std::size_t size, std::size_t step) {
  std::vector<std::size_t> cuts;
  for (std::size_t at = step; at < size; at += step) cuts.push_back(at);
  return cuts;
}

}  // namespace tap::tests
