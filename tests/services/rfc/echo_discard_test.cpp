// Echo and discard: by connection and by datagram.
#include "services/echo/echo.hpp"
#include "services/rfc/answer_guard.hpp"
#include "services/rfc/discard.hpp"
#include "tests/services/client.hpp"
#include "tests/services/rfc/datagram_client.hpp"

using namespace tap;
using namespace tap::services;
using tap::tests::DatagramClient;
using tap::tests::Loop;
using tap::tests::make_service;
using tap::tests::StringClient;

TEST_CASE("echo: a connection gets back what it sends") {
  const std::unique_ptr<Service> service = make_service(echo_kind());
  StringClient client(*service);
  CHECK(client.transport.take_written().empty());
  CHECK(client.ask("hello") == "hello");
  CHECK_FALSE(client.transport.ending());
}

TEST_CASE("echo: a datagram comes back as it is, empty or as long as one can be") {
  Loop loop;
  const std::unique_ptr<Service> service = make_service(echo_kind());
  DatagramClient client(loop, *service);
  CHECK(client.ask("hello") == "hello");
  CHECK(client.ask("").empty());
  const std::string longest(net::DatagramTransport::kDatagramBytesMax, 'x');
  CHECK(client.ask(longest) == longest);
}

TEST_CASE("echo: nothing goes to another service of the kind, to everybody or to nobody, and not too often") {
  Loop loop;
  const std::unique_ptr<Service> service = make_service(echo_kind(), {{"udp_answers", "3"}});
  DatagramClient client(loop, *service);
  CHECK(client.ask("ping", "192.0.2.1", 7) == "(none)");
  CHECK(client.ask("ping", "255.255.255.255") == "(none)");
  CHECK(client.ask("ping", "239.1.2.3") == "(none)");
  CHECK(client.ask("ping", "0.0.0.0") == "(none)");
  CHECK(client.ask("ping", "ff02::1") == "(none)");
  CHECK(client.transport.take_refusals().size() == 5);
  for (int i = 0; i < 3; ++i) CHECK(client.ask("ping") == "ping");
  CHECK(client.ask("ping") == "(none)");
  CHECK(client.transport.take_refusals() == std::vector<std::string>{AnswerGuard::kSourceLimit});
}

TEST_CASE("echo: two ports of one service share its limits") {
  Loop loop;
  const std::unique_ptr<Service> service = make_service(echo_kind(), {{"udp_answers", "3"}});
  DatagramClient first(loop, *service);
  DatagramClient second(loop, *service);
  for (int i = 0; i < 3; ++i) CHECK(first.ask("ping") == "ping");
  CHECK(second.ask("ping") == "(none)");
}

TEST_CASE("discard: nothing is answered, whatever comes, and connections stay") {
  Loop loop;
  const std::unique_ptr<Service> service = make_service(discard_kind());
  StringClient client(*service);
  CHECK(client.ask("anything").empty());
  CHECK(client.ask(std::string(1 << 20, 'x')).empty());
  CHECK_FALSE(client.transport.ending());
  DatagramClient datagrams(loop, *service);
  CHECK(datagrams.ask("") == "(none)");
  CHECK(datagrams.ask(std::string(65'507, 'x')) == "(none)");
  CHECK(datagrams.ask("x", "255.255.255.255", 7) == "(none)");
  CHECK(datagrams.transport.take_refusals().empty());
}
