#include "services/rfc/chargen.hpp"

#include "tests/services/client.hpp"
#include "tests/services/rfc/datagram_client.hpp"

using namespace tap;
using namespace tap::services;
using tap::tests::DatagramClient;
using tap::tests::Loop;
using tap::tests::make_service;
using tap::tests::Peer;
using tap::tests::StringClient;

namespace {

/// A started service on a virtual loop.
struct Started {
  Loop loop;
  std::unique_ptr<Service> service;

  explicit Started(const std::string& rate) : service(make_service(chargen_kind(), {{"rate", rate}})) {
    REQUIRE(service->start(loop.reactor).ok());
  }
  void pass(std::uint64_t ms) {
    loop.clock.advance(ms);
    loop.turn(2);
  }
};

}  // namespace

TEST_CASE("chargen: the lines are those of RFC 864") {
  CHECK(chargen_line(0) == " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n");
  CHECK(chargen_line(1) == "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n");
  CHECK(chargen_line(94).substr(0, 4) == "~ !\"");
  CHECK(chargen_line(95) == chargen_line(0));
  for (std::uint64_t number = 0; number < 200; ++number) CHECK(chargen_line(number).size() == kChargenLineBytes);
}

TEST_CASE("chargen: a connection gets lines at the rate, and no more than a tenth of a second's at once") {
  Started started("7400");
  StringClient client(*started.service);
  const std::string first = client.transport.take_written();
  CHECK(first.size() == 740);
  CHECK(first.substr(0, 74) == chargen_line(0));
  started.pass(99);
  CHECK(client.transport.take_written().empty());
  started.pass(1);
  const std::string second = client.transport.take_written();
  CHECK(second.size() == 740);
  CHECK(second.substr(0, 74) == chargen_line(10));
  started.pass(3'600'000);
  CHECK(client.transport.take_written().size() == 740);  // what was not sent is not made up for
  std::size_t in_a_second = 0;
  for (int i = 0; i < 10; ++i) {
    started.pass(100);
    in_a_second += client.transport.take_written().size();
  }
  CHECK(in_a_second == 7400);
  client.protocol->connection_lost(Error{});
}

TEST_CASE("chargen: a peer that does not read gets nothing more until it does") {
  Started started("1MiB");
  StringClient client(*started.service);
  CHECK(client.transport.take_written().size() > 100'000);
  client.transport.set_congested(true);
  for (int i = 0; i < 20; ++i) started.pass(100);
  CHECK(client.transport.take_written().empty());
  client.transport.set_congested(false);
  client.protocol->output_drained();
  CHECK(client.transport.take_written().size() > 100'000);
  client.protocol->connection_lost(Error{});
}

TEST_CASE("chargen: what a client sends is not looked at, and a stop or its end ends it") {
  Started started("7400");
  StringClient client(*started.service);
  (void)client.transport.take_written();
  CHECK(client.ask("stop it").empty());
  client.protocol->service_stops();
  CHECK(client.transport.lost());
  started.pass(1000);
  CHECK(client.transport.take_written().empty());
  client.protocol->connection_lost(Error{});

  StringClient leaving(*started.service);
  leaving.protocol->end_received();
  CHECK(leaving.transport.lost());
  leaving.protocol->connection_lost(Error{});
}

TEST_CASE("chargen: a connection that has gone leaves no timer behind") {
  Started started("7400");
  {
    StringClient client(*started.service);
    client.protocol->connection_lost(Error{});
    (void)client.transport.take_written();
    started.pass(1000);
    CHECK(client.transport.take_written().empty());
  }
  started.pass(1000);
}

TEST_CASE("chargen: rates below a line and above the limit are taken for these") {
  Started slow("0");
  StringClient client(*slow.service);
  CHECK(client.transport.take_written().size() == kChargenLineBytes);
  slow.pass(500);
  CHECK(client.transport.take_written().empty());
  for (int i = 0; i < 6; ++i) slow.pass(100);
  CHECK(client.transport.take_written().size() == kChargenLineBytes);
  client.protocol->connection_lost(Error{});

  Started fast("1000000GiB");
  StringClient greedy(*fast.service);
  CHECK(greedy.transport.take_written().size() <= kChargenRateMax / 10);
  greedy.protocol->connection_lost(Error{});
}

TEST_CASE("chargen: a datagram's answer is never longer than the datagram") {
  Loop loop;
  const std::unique_ptr<Service> service = make_service(chargen_kind(), {{"udp_answers", "1000"}});
  DatagramClient client(loop, *service);
  for (const std::size_t size : {0U, 1U, 73U, 74U, 75U, 511U, 512U, 513U, 65'507U}) {
    CAPTURE(size);
    const std::string answer = client.ask(std::string(size, 'x'));
    CHECK(answer.size() == std::min(size, kChargenDatagramBytesMax));
    CHECK((chargen_line(0) + chargen_line(1)).compare(0, std::min<std::size_t>(size, 148), answer, 0, 148) == 0);
  }
  CHECK(client.ask("x", "192.0.2.1", 7) == "(none)");
  CHECK(client.ask("x", "192.0.2.1", 19) == "(none)");
}

TEST_CASE("chargen: over a real connection a slow reader costs bounded memory, and a stop does not wait for it long") {
  Loop loop;
  const std::unique_ptr<Service> service = make_service(chargen_kind(), {{"rate", "1GiB"}});
  REQUIRE(service->start(loop.reactor).ok());
  tests::Server server(loop, *service);
  Peer slow = Peer::tcp(server.port());
  REQUIRE(loop.turn_until([&] { return slow.read_now(1000) > 0; }));
  for (int i = 0; i < 50; ++i) {
    loop.clock.advance(100);
    loop.turn(2);
  }
  CHECK(loop.log.count("bytes wait to be sent") == 0);
  bool done = false;
  server.listener().drain([&] { done = true; });
  REQUIRE(loop.turn_until([&] {
    loop.clock.advance(100);
    (void)slow.read_now();
    return done;
  }));
  CHECK(loop.turn_until([&] { return slow.read_now(), slow.ended(); }));
  const std::string& received = slow.received();
  CHECK(received.substr(0, 74) == chargen_line(0));
  CHECK(received.substr(received.size() - 2) == "\r\n");
}
