// Endpoints are typed by people: whatever the text, it is an endpoint or a sentence, never a crash.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

#include "services/net/endpoint.hpp"

using tap::Fault;
using tap::Result;
using tap::net::Endpoint;
using tap::net::parse_endpoint;

namespace {

/// What the grammar is made of, so that random texts come near it.
rc::Gen<std::string> pieces() {
  const std::vector<std::string> words{
      "tcp",       "tcp6",  "unix",      "fd",   "stdio",    "tls",      ":",
      ":",         ":",     "=",         "\\",   "[",        "]",        "::1",
      "0",         "8888",  "mode",      "660",  "=",        "backlog=", "interface=",
      "/x",        ".",     "127.0.0.1", "é",    " ",        "-1",       "name",
      "65536",     "\x01",  "\\:",       "\\\\", "haproxy:", "systemd:", "privateKey=k",
      "clientCA=", "alpn=", "index="};
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(words)),
                      [](const std::vector<std::string>& parts) {
                        std::string text;
                        for (const std::string& part : parts) text += part;
                        return text;
                      });
}

void is_an_endpoint_or_a_sentence(const std::string& text) {
  const Result<Endpoint> endpoint = parse_endpoint(text);
  if (!endpoint.ok()) {
    RC_ASSERT(endpoint.error().fault == Fault::config);
    RC_ASSERT(!endpoint.error().message.empty());
    return;
  }
  RC_ASSERT(endpoint->text == text);
  RC_ASSERT(endpoint->backlog >= 1);
  RC_ASSERT(endpoint->type != Endpoint::Type::unix_socket || !endpoint->path.empty());
  const Result<Endpoint> again = parse_endpoint(endpoint->text);
  RC_ASSERT(again.ok());
  RC_ASSERT(tap::net::conflict(*again, *endpoint) == tap::net::conflict(*endpoint, *again));
}

}  // namespace

// rapidcheck looks at a hundred inputs: a hundred texts each make ten thousand.
TEST_CASE("endpoint: ten thousand texts near the grammar are endpoints or sentences") {
  CHECK(rc::check([] {
    for (const std::string& text : *rc::gen::container<std::vector<std::string>>(100, pieces())) {
      is_an_endpoint_or_a_sentence(text);
    }
  }));
}

TEST_CASE("endpoint: ten thousand texts of any bytes are endpoints or sentences") {
  CHECK(rc::check([] {
    for (const std::string& text :
         *rc::gen::container<std::vector<std::string>>(100, rc::gen::arbitrary<std::string>())) {
      is_an_endpoint_or_a_sentence(text);
    }
  }));
}

TEST_CASE("endpoint: every path comes back when its special characters are escaped") {
  CHECK(rc::check([](const std::string& any) {
    std::string path = "/";
    for (const char c : any) {
      if (c != '\0') path += c;
    }
    path.resize(std::min<std::size_t>(path.size(), 107));
    std::string text = "unix:";
    for (const char c : path) {
      if (c == ':' || c == '\\' || c == '[' || c == ']' || c == '=') text += '\\';
      text += c;
    }
    const Result<Endpoint> endpoint = parse_endpoint(text);
    RC_ASSERT(endpoint.ok());
    RC_ASSERT(endpoint->path == path);
  }));
}
