// The fakes that service authors use: a fake that differs from the real thing proves nothing.
#include "services/testing/string_transport.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "services/testing/recording_log.hpp"
#include "services/testing/virtual_clock.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::tests;
using tap::testing::StringTransport;

namespace {

using Steps = std::function<void(net::Transport&)>;

/// What a protocol does with its connection, and what the peer must see of it.
struct Row {
  const char* name;
  Steps steps;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all{
      {"writes", [](net::Transport& t) { t.write("a"), t.write("b"); }},
      {"loses the connection", [](net::Transport& t) { t.write("a"), t.lose_connection(), t.write("b"); }},
      {"ends its direction", [](net::Transport& t) { t.write("a"), t.lose_write_connection(), t.write("b"); }},
      {"ends its direction, then all",
       [](net::Transport& t) { t.write("a"), t.lose_write_connection(), t.lose_connection(), t.write("b"); }},
      {"ends twice", [](net::Transport& t) { t.write("a"), t.lose_connection(), t.lose_connection(), t.write("b"); }},
  };
  return all;
}

}  // namespace

TEST_CASE("string transport: gives the peer what a stream gives") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    StringTransport fake;
    row.steps(fake);
    Loop loop;
    const Script script;
    LoneStream lone(loop, script);
    row.steps(lone.stream());
    CHECK(fake.ending() == lone.stream().ending());
    loop.turn(3);
    lone.peer().read_now();
    CHECK(fake.take_written() == lone.peer().received());
    CHECK((fake.lost() || fake.half_closed()) == lone.peer().ended());
  }
}

TEST_CASE("string transport: an aborted one takes nothing more") {
  StringTransport transport;
  transport.write("before");
  transport.abort_connection();
  transport.write("after");
  CHECK(transport.aborted());
  CHECK(transport.ending());
  CHECK(!transport.lost());
  CHECK(transport.take_written() == "before");
}

TEST_CASE("string transport: shows what was asked of it") {
  StringTransport transport;
  CHECK(transport.reading());
  transport.pause_reading();
  CHECK(!transport.reading());
  transport.resume_reading();
  CHECK(transport.reading());
  CHECK(!transport.congested());
  transport.set_congested(true);
  CHECK(transport.congested());
  transport.write("a");
  CHECK(transport.take_written() == "a");
  CHECK(transport.take_written().empty());
  transport.fail("because");
  CHECK(transport.failure() == "because");
  CHECK(transport.aborted());
  CHECK(!transport.peer().empty());
}

TEST_CASE("virtual clock: time passes when a test says so, and never by itself") {
  testing::VirtualClock clock;
  const std::uint64_t begin = clock.now_ms();
  CHECK(begin > 0);
  CHECK(!clock.ticks());
  clock.advance(5);
  CHECK(clock.now_ms() == begin + 5);
  CHECK(net::system_clock().ticks());
  const std::uint64_t now = net::system_clock().now_ms();
  CHECK(net::system_clock().now_ms() >= now);
}

TEST_CASE("recording log: keeps lines as they were said, and counts them by a part") {
  testing::RecordingLog log;
  log.write(LogLevel::warning, "fib", "one rabbit");
  log.write(LogLevel::info, "echo", "two rabbits");
  REQUIRE(log.lines().size() == 2);
  CHECK(log.lines()[0].level == LogLevel::warning);
  CHECK(log.lines()[0].who == "fib");
  CHECK(log.lines()[1].message == "two rabbits");
  CHECK(log.count("rabbit") == 2);
  CHECK(log.count("rabbits") == 1);
  CHECK(log.count("fox") == 0);
}
