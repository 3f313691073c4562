#include "services/testing/transport_pair.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

#include "services/net/line_protocol.hpp"
#include "services/net/refusal.hpp"
#include "services/testing/test_loop.hpp"

using namespace tap;
using namespace tap::testing;
using Side = TransportPair::Side;

namespace {

/// Answers each line with itself; some words do something else.
class Parrot final : public net::LineProtocol {
 public:
  explicit Parrot(std::string* lost = nullptr) : lost_(lost) {}
  void connection_lost(const Error& reason) override {
    if (lost_ != nullptr) *lost_ = reason.message;
  }

 private:
  void line_received(std::string_view line) override {
    if (line == "refuse") throw net::Refusal("not today");
    if (line == "throw") throw std::runtime_error("broken");
    if (line == "throw a number") throw 1;
    if (line == "bye") transport().lose_connection();
    if (line == "abort") transport().abort_connection();
    if (line == "much") transport().write(std::string(TransportPair::kHighWaterBytes, 'm'));
    send_line(line);
  }
  std::string* lost_;
};

/// Refuses whatever comes, without lines.
class Refuser final : public net::Protocol {
 public:
  void data_received(std::string_view /*data*/) override { throw net::Refusal("no"); }
};

}  // namespace

TEST_CASE("transport pair: nothing is delivered before it is asked for") {
  TransportPair pair(std::make_unique<Parrot>());
  pair.peer().send("hello\n");
  CHECK(pair.waiting(Side::client) == 6);
  CHECK(pair.peer().received().empty());
  CHECK(pair.step());
  CHECK(pair.waiting(Side::server) == 6);
  CHECK(pair.peer().received().empty());
  CHECK(pair.step());
  CHECK(pair.peer().received() == "hello\n");
  CHECK_FALSE(pair.step());
}

TEST_CASE("transport pair: the answer is the same however the bytes are cut") {
  for (std::size_t size = 0; size <= 12; ++size) {
    TransportPair pair(std::make_unique<Parrot>());
    pair.cut([size](std::size_t) { return size; });
    pair.peer().send("a\nbcd\r\nef\n");
    CHECK(pair.run());
    CHECK(pair.peer().received() == "a\nbcd\nef\n");
  }
}

TEST_CASE("transport pair: the connection is lost at any byte, for both ends") {
  for (std::uint64_t bytes = 0; bytes < 6; ++bytes) {
    std::string lost;
    TransportPair pair(std::make_unique<Parrot>(&lost));
    pair.lose_after(Side::client, bytes);
    pair.peer().send("hello\n");
    CHECK(pair.run());
    CHECK(pair.delivered(Side::client) == bytes);
    CHECK(lost == "the connection was lost");
    CHECK(pair.peer().lost() == "the connection was lost");
    CHECK(pair.over(Side::server));
  }
}

TEST_CASE("transport pair: an end that does not read makes the other congested, and tells when there is room") {
  TransportPair pair(std::make_unique<Parrot>());
  pair.stop_reading(Side::client);
  pair.peer().send("much\nnext\n");
  CHECK(pair.run());
  CHECK(pair.peer().received().empty());
  CHECK(pair.waiting(Side::server) > TransportPair::kHighWaterBytes);
  CHECK(pair.transport(Side::server).congested());
  pair.stop_reading(Side::client, false);
  pair.cut([](std::size_t) { return std::size_t{1000}; });
  CHECK(pair.run());
  CHECK(pair.peer().received().substr(TransportPair::kHighWaterBytes) == "much\nnext\n");
}

TEST_CASE("transport pair: an end that asked for it hears its peer although its own output is stuck") {
  TransportPair pair(std::make_unique<Parrot>());
  pair.transport(Side::server).read_while_congested(true);
  pair.stop_reading(Side::client);
  pair.peer().send("much\n");
  CHECK(pair.run());
  const std::uint64_t heard = pair.delivered(Side::client);
  CHECK(pair.transport(Side::server).congested());
  pair.peer().send("next\n");
  CHECK(pair.run());
  CHECK(pair.delivered(Side::client) == heard + 5);
}

TEST_CASE("transport pair: who pauses reading gets nothing until it resumes") {
  TransportPair pair(std::make_unique<Parrot>());
  pair.transport(Side::server).pause_reading();
  pair.peer().send("a\n");
  CHECK(pair.run());
  CHECK(pair.delivered(Side::client) == 0);
  pair.transport(Side::server).resume_reading();
  CHECK(pair.run());
  CHECK(pair.peer().received() == "a\n");
}

TEST_CASE("transport pair: an end that closes has everything it wrote delivered before") {
  std::string lost;
  TransportPair pair(std::make_unique<Parrot>(&lost));
  pair.peer().send("a\nbye\nignored\n");
  CHECK(pair.run());
  CHECK(pair.peer().received() == "a\n");
  CHECK(pair.peer().ended());
  CHECK_FALSE(pair.peer().lost());
  CHECK(lost == "the connection was ended by us");
  pair.peer().close();
  CHECK(pair.run());
  CHECK(pair.peer().lost() == "the connection was ended by us");
}

TEST_CASE("transport pair: half an end leaves the other half, and both halves are the end") {
  std::string lost;
  TransportPair pair(std::make_unique<Parrot>(&lost));
  pair.peer().send("a\nb\n");
  pair.peer().finish();
  pair.peer().send("too late\n");
  CHECK(pair.run());
  CHECK(pair.peer().received() == "a\nb\n");
  CHECK(lost == "the connection was ended by us");  // what a line protocol does at the end of the requests

  TransportPair quiet(std::make_unique<PlayedPeer>());
  quiet.peer().finish();
  CHECK(quiet.run());
  CHECK_FALSE(quiet.over(Side::server));
  quiet.transport(Side::server).lose_write_connection();
  CHECK(quiet.run());
  CHECK(quiet.over(Side::server));
  CHECK(quiet.peer().lost() == "both sides have ended the connection");
}

TEST_CASE("transport pair: exceptions end their connection, a refusal of a line does not") {
  TransportPair lines(std::make_unique<Parrot>());
  lines.peer().send("refuse\na\n");
  CHECK(lines.run());
  CHECK(lines.peer().received() == "ERR not today\na\n");
  lines.peer().send("throw\n");
  CHECK(lines.run());
  CHECK(lines.failure(Side::server) == "the protocol threw: broken");
  CHECK(lines.peer().lost() == "connection reset by peer");

  TransportPair number(std::make_unique<Parrot>());
  number.peer().send("throw a number\n");
  CHECK(number.run());
  CHECK(number.failure(Side::server) == "the protocol threw something that is no exception");

  TransportPair refused(std::make_unique<Refuser>());
  refused.peer().send("x");
  CHECK(refused.run());
  CHECK(refused.failure(Side::server).empty());
  CHECK(refused.peer().ended());
}

TEST_CASE("transport pair: an abort drops what was not delivered") {
  TransportPair pair(std::make_unique<Parrot>());
  pair.peer().send("a\nabort\n");
  CHECK(pair.run());
  CHECK(pair.peer().received().empty());
  CHECK(pair.peer().lost() == "connection reset by peer");
}

TEST_CASE("transport pair: the end of the test is the end of the connection") {
  std::string lost;
  { TransportPair pair(std::make_unique<Parrot>(&lost)); }
  CHECK(lost == "the test is over");
}

TEST_CASE("test loop: a turn is a turn, and time passes when told") {
  TestLoop loop;
  std::string order;
  net::Timer second;
  const net::Timer first = loop.reactor.call_later(20, [&] {
    order += "first ";
    second = loop.reactor.call_later(20, [&] { order += "second "; });
  });
  const net::Timer third = loop.reactor.call_later(60, [&] { order += "third "; });
  CHECK(loop.not_yet([&] { return !order.empty(); }));
  loop.advance(100);
  CHECK(order == "first second third ");
  int turns = 0;
  CHECK_FALSE(loop.turn_until([&] { return ++turns > 100; }, 10));
  CHECK(turns == 11);
  loop.reactor.post([&] { order = "posted"; });
  CHECK_FALSE(loop.not_yet([&] { return order == "posted"; }));
}
