#include "services/rfc/clocks.hpp"

#include "services/rfc/answer_guard.hpp"
#include "tests/services/client.hpp"
#include "tests/services/rfc/datagram_client.hpp"

using namespace tap;
using namespace tap::services;
using tap::tests::DatagramClient;
using tap::tests::Loop;
using tap::tests::make_service;
using tap::tests::StringClient;

namespace {

constexpr std::uint64_t kSecond = 1'000'000;

std::uint64_t fixed_clock() { return 1'732'455'991 * kSecond + 42; }

/// What a connection is told; it must be ended.
std::string told(const Kind& kind) {
  const std::unique_ptr<Service> service = make_service(kind);
  StringClient client(*service);
  CHECK(client.transport.lost());
  return client.transport.take_written();
}

/// What a datagram is told.
std::string told_by_datagram(const Kind& kind, std::string_view question) {
  Loop loop;
  const std::unique_ptr<Service> service = make_service(kind);
  DatagramClient client(loop, *service);
  return client.ask(question);
}

}  // namespace

TEST_CASE("clocks: the greeting has seconds and six digits, and no newline") {
  CHECK(greeting_text(fixed_clock()) == "Hello. The time is 1732455991.000042");
  CHECK(greeting_text(0) == "Hello. The time is 0.000000");
  CHECK(greeting_text(kSecond - 1) == "Hello. The time is 0.999999");
  CHECK(greeting_text(123'456) == "Hello. The time is 0.123456");
}

TEST_CASE("clocks: daytime is 24 characters and a line's end, in UTC") {
  CHECK(daytime_text(fixed_clock()) == "Sun Nov 24 13:46:31 2024\r\n");
  CHECK(daytime_text(0) == "Thu Jan  1 00:00:00 1970\r\n");
  CHECK(daytime_text(951'782'400 * kSecond) == "Tue Feb 29 00:00:00 2000\r\n");
  CHECK(daytime_text(~std::uint64_t{0}).size() > 2);  // far away, but no crash
}

TEST_CASE("clocks: time868 is what RFC 868 gives as examples") {
  CHECK(time868_bytes(0) == std::string("\x83\xAA\x7E\x80", 4));
  // "2,208,988,800 corresponds to 00:00 1 Jan 1970 GMT, 2,398,291,200 to 00:00 1 Jan 1976 GMT,
  //  2,524,521,600 to 00:00 1 Jan 1980 GMT, 2,629,584,000 to 00:00 1 May 1983 GMT"
  const auto number = [](std::uint64_t seconds) {
    std::uint32_t value = 0;
    for (const char byte : time868_bytes(seconds * kSecond)) value = value << 8U | static_cast<unsigned char>(byte);
    return value;
  };
  CHECK(number(0) == 2'208'988'800);
  CHECK(number(189'302'400) == 2'398'291'200);
  CHECK(number(315'532'800) == 2'524'521'600);
  CHECK(number(420'595'200) == 2'629'584'000);
  // The end of the 32 bits: 7 February 2036, 06:28:15 UTC, and one second later.
  CHECK(number(2'085'978'495) == 0xFFFFFFFF);
  CHECK(number(2'085'978'496) == 0);
}

TEST_CASE("clocks: a connection is told the time and ended, a datagram is told the same") {
  const std::string greeting = "Hello. The time is 1732455991.000042";
  CHECK(told(time_kind(fixed_clock)) == greeting);
  CHECK(told_by_datagram(time_kind(fixed_clock), "") == greeting);
  CHECK(told(daytime_kind(fixed_clock)) == daytime_text(fixed_clock()));
  CHECK(told_by_datagram(daytime_kind(fixed_clock), "what time is it?") == daytime_text(fixed_clock()));
  CHECK(told(time868_kind(fixed_clock)) == time868_bytes(fixed_clock()));
  CHECK(told_by_datagram(time868_kind(fixed_clock), std::string(65'507, 'x')) == time868_bytes(fixed_clock()));
}

TEST_CASE("clocks: what a client sends is not looked at") {
  const std::unique_ptr<Service> service = make_service(time868_kind(fixed_clock));
  StringClient client(*service);
  CHECK(client.transport.take_written().size() == 4);
  CHECK(client.ask("more\n").empty());
}

TEST_CASE("clocks: the time is looked at for each client, and it is the system's") {
  std::uint64_t now = kSecond;
  const std::unique_ptr<Service> service = make_service(time_kind([&now] { return now; }));
  StringClient first(*service);
  now = 2 * kSecond;
  StringClient second(*service);
  CHECK(first.transport.take_written() == "Hello. The time is 1.000000");
  CHECK(second.transport.take_written() == "Hello. The time is 2.000000");
  const std::uint64_t before = system_wall_clock_us();
  CHECK(before > 1'700'000'000 * kSecond);
  CHECK(system_wall_clock_us() >= before);
}

TEST_CASE("clocks: who may be forged is not answered, and refused") {
  Loop loop;
  const std::unique_ptr<Service> service = make_service(daytime_kind(fixed_clock), {{"udp_answers", "2"}});
  DatagramClient client(loop, *service);
  client.transport.add_port(8013);
  CHECK(client.ask("", "192.0.2.1", 19) == "(none)");
  CHECK(client.ask("", "192.0.2.1", 8013) == "(none)");
  CHECK(client.ask("", "224.0.0.1") == "(none)");
  CHECK(client.ask("") != "(none)");
  CHECK(client.ask("") != "(none)");
  CHECK(client.ask("") == "(none)");
  CHECK(client.transport.take_refusals() == std::vector<std::string>{AnswerGuard::kReservedPort, AnswerGuard::kOwnPort,
                                                                     AnswerGuard::kNoHost, AnswerGuard::kSourceLimit});
  loop.clock.advance(500);
  CHECK(client.ask("") != "(none)");
}
