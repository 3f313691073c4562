// The poetry-transform service, without a socket.
#include "services/poetry/transform.hpp"

#include "services/testing/transport_pair.hpp"
#include "tests/services/client.hpp"

using namespace tap;
using namespace tap::services;
using tap::testing::TransportPair;
using tap::tests::make_service;
using tap::tests::StringClient;

namespace {

std::string netstring(const std::string& text) { return std::to_string(text.size()) + ":" + text + ","; }

}  // namespace

TEST_CASE("poetry-transform: the article's request gets the article's answer") {
  const std::unique_ptr<Service> service = make_service(poetry_transform_kind());
  StringClient client(*service);
  CHECK(client.ask("27:cummingsify.HERE IS MY POEM,") == "15:here is my poem,");
  CHECK_FALSE(client.transport.ending());
}

TEST_CASE("poetry-transform: requests may be many, pipelined, and cut anywhere") {
  const std::unique_ptr<Service> service = make_service(poetry_transform_kind());
  const std::string requests =
      netstring("cummingsify.A. B.") + netstring("rot13.") + netstring("backwards.abc") + netstring("cummingsify.ΣΑΣ");
  const std::string answers = netstring("a. b.") + netstring("") + netstring("cba") + netstring("σας");
  for (std::size_t piece = 1; piece <= requests.size(); piece += piece < 8 ? 1 : 11) {
    TransportPair pair(service->build_protocol());
    pair.cut([&](std::size_t) { return piece; });
    pair.peer().send(requests);
    pair.peer().finish();
    CHECK(pair.run());
    CHECK(pair.peer().received() == answers);
    CHECK(pair.peer().ended());
  }
}

TEST_CASE("poetry-transform: an unknown transform, none, or a bad netstring closes, with one reason") {
  struct Case {
    const char* request;
    const char* why;
  };
  for (const Case& bad : {Case{"6:sing.A,", "there is no transform 'sing'"}, Case{"2:.A,", "there is no transform ''"},
                          Case{"11:cummingsify,", "a request has no full stop after the transform's name"},
                          Case{"0:,", "a request has no full stop after the transform's name"},
                          Case{"x", "a netstring's length is not a number and a colon"},
                          Case{"07:rot13.A,", "a netstring's length begins with a zero"},
                          Case{"7:rot13.AB", "a netstring does not end in a comma"},
                          Case{"1048577:", "a string is longer than 1048576 bytes"},
                          Case{"9:a\nb\x1b[2J.A,", "there is no transform 'a?b?[2J'"}}) {
    CAPTURE(bad.request);
    const std::unique_ptr<Service> service = make_service(poetry_transform_kind());
    StringClient client(*service);
    CHECK(client.ask(netstring("rot13.A") + bad.request + netstring("rot13.A")) == "1:N,");
    CHECK(client.transport.aborted());
    CHECK(client.transport.failure() == bad.why);
  }
}

TEST_CASE("poetry-transform: a name that is too long for the log is cut there") {
  const std::unique_ptr<Service> service = make_service(poetry_transform_kind());
  StringClient client(*service);
  (void)client.ask(netstring(std::string(50'000, 'x') + ".A"));
  CHECK(client.transport.failure() == "there is no transform '" + std::string(32, 'x') + "...'");
}

TEST_CASE(
    "poetry-transform: the longest request is answered, and a peer that does not read gets one answer at a time") {
  const std::unique_ptr<Service> service = make_service(poetry_transform_kind());
  const std::string name = "cummingsify.";
  const std::string longest = name + std::string(kTransformBytesMax - name.size(), 'A');
  TransportPair pair(service->build_protocol());
  pair.stop_reading(TransportPair::Side::client);
  for (int i = 0; i < 3; ++i) pair.peer().send(netstring(longest));
  CHECK(pair.run());
  CHECK(pair.waiting(TransportPair::Side::server) < kTransformBytesMax + 100);
  pair.stop_reading(TransportPair::Side::client, false);
  CHECK(pair.run());
  const std::string answer = netstring(std::string(kTransformBytesMax - name.size(), 'a'));
  CHECK(pair.peer().received() == answer + answer + answer);
  CHECK(service->status()[0] ==
        "transformed: 3 by cummingsify, 0 by backwards, 0 by rot13; 0 requests for something else");
}
