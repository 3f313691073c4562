// The onetimekey service, without a socket.
#include "services/onetimekey/onetimekey.hpp"

#include "services/onetimekey/state.hpp"
#include "tests/services/client.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using tap::tests::ListedLog;
using tap::tests::make_service;
using tap::tests::saved;
using tap::tests::StringClient;

namespace {

/// What one more connection is given.
std::string given(Service& service) {
  StringClient client(service);
  CHECK(client.transport.lost());
  return client.transport.take_written();
}

}  // namespace

TEST_CASE("onetimekey: every connection gets one number and a newline, and is ended") {
  const std::unique_ptr<Service> service = make_service(onetimekey_kind());
  CHECK(given(*service) == "0\n");
  CHECK(given(*service) == "1\n");
  StringClient talkative(*service);
  CHECK(talkative.ask("one more\n") == "2\n");
  CHECK(given(*service) == "3\n");
  CHECK(service->state()->changes() == 4);
}

TEST_CASE("onetimekey: start is where the first number begins, and nothing to one that has given some") {
  const Kind kind = onetimekey_kind();
  const std::unique_ptr<Service> service = make_service(kind, {{"start", "1000"}});
  CHECK(given(*service) == "1000\n");
  CHECK(given(*service) == "1001\n");
  for (const char* start : {"5", "1000", "9999"}) {
    const std::unique_ptr<Service> resumed = make_service(kind, {{"start", start}});
    REQUIRE(resumed->state()->restore(saved(*service), 1).ok());
    CHECK(given(*resumed) == "1002\n");
  }
  const std::unique_ptr<Service> from_one = make_service(kind, {{"start", "1"}});
  CHECK(given(*from_one) == "1\n");
  CHECK(given(*from_one) == "2\n");
}

TEST_CASE("onetimekey: its records replayed give the next number") {
  const std::unique_ptr<Service> service = make_service(onetimekey_kind(), {{"start", "7"}});
  ListedLog log;
  service->state()->attach(&log);
  for (int i = 0; i < 5; ++i) (void)given(*service);
  REQUIRE(log.changes.size() == 5);
  CHECK(log.changes.back().size() == 8);
  const std::unique_ptr<Service> resumed = make_service(onetimekey_kind(), {{"start", "100"}});
  tap::tests::replay(*resumed, log);
  CHECK(saved(*resumed) == saved(*service));
  CHECK(given(*resumed) == "12\n");
}

TEST_CASE("onetimekey: when the disk is full no number is given, and none is lost") {
  const std::unique_ptr<Service> service = make_service(onetimekey_kind());
  ListedLog log;
  service->state()->attach(&log);
  CHECK(given(*service) == "0\n");
  log.full = true;
  CHECK_THROWS_AS(StringClient{*service}, net::Refusal);
  log.full = false;
  CHECK(given(*service) == "1\n");
}

TEST_CASE("onetimekey: after the last number nothing is given any more") {
  const std::unique_ptr<Service> service = make_service(onetimekey_kind(), {{"start", "18446744073709551614"}});
  CHECK(given(*service) == "18446744073709551614\n");
  CHECK_THROWS_AS(StringClient{*service}, net::Refusal);
  CHECK_THROWS_AS(StringClient{*service}, net::Refusal);
  CHECK(service->state()->changes() == 1);
}

// golden/onetimekey-1.payload is never made again: if this fails, the program reads otherwise what people have saved.
TEST_CASE("onetimekey: the golden payload of schema version 1 is read") {
  const Bytes payload = tap::tests::read_text(std::string(TAP_SERVICES_GOLDEN) + "/onetimekey-1.payload");
  REQUIRE_FALSE(payload.empty());
  OneTimeKeyState state;
  REQUIRE(onetimekey_codec().decode(payload, 1, state).ok());
  CHECK(state == OneTimeKeyState{4242, 243});
  const std::unique_ptr<Service> service = make_service(onetimekey_kind());
  REQUIRE(service->state()->restore(payload, 1).ok());
  CHECK(given(*service) == "4242\n");
}

TEST_CASE("onetimekey: a damaged or a newer state is refused") {
  const std::unique_ptr<Service> service = make_service(onetimekey_kind());
  CHECK(given(*service) == "0\n");
  const Bytes payload = saved(*service);
  for (std::size_t size = 0; size < payload.size(); ++size) {
    CHECK(!service->state()->restore(payload.substr(0, size), 1).ok());
  }
  CHECK(service->state()->restore(payload, 2).error().fault == Fault::config);
  CHECK(given(*service) == "1\n");
}
