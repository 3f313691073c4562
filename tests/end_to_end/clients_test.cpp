// Clients that misbehave: limited, told once in the log, others unaffected.
#include <doctest/doctest.h>

#include <fstream>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

/// What a client may cost: the connection's buffers, and with a sanitizer the freed memory it holds back.
long kib_per_client_max() { return sanitized() ? 65'536 : 4096; }

}  // namespace

TEST_CASE("clients: a gigabyte without a newline ends that connection early and costs no memory") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE(daemon.started());
  const long before = resident_kib(daemon.worker());
  Client flood = Client::tcp(daemon.port());
  const std::string piece(1 << 20, 'x');
  int sent = 0;
  while (sent < 1024 && flood.send(piece)) ++sent;
  CHECK(sent < 64);
  CHECK(ask(daemon.port()) == "2");
  CHECK(resident_kib(daemon.worker()) - before < kib_per_client_max());
  CHECK(count_of(daemon.log(), "a line is longer than 16384 bytes") == 1);
  CHECK(daemon.stop());
}

TEST_CASE("clients: one that asks and never reads is not read any more, memory stays bounded, others are served") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"echo", "--listen", "tcp:0:interface=127.0.0.1", "--stop-timeout", "0"});
  REQUIRE(daemon.started());
  const long before = resident_kib(daemon.worker());
  Client stuck = Client::tcp(daemon.port());
  const std::size_t sent = stuck.send_until_stuck();
  CHECK(sent > 0);
  CHECK(sent < std::size_t{64} << 20);
  Client other = Client::tcp(daemon.port());
  REQUIRE(other.send("hello"));
  CHECK(other.read_exactly(5) == "hello");
  CHECK(resident_kib(daemon.worker()) - before < kib_per_client_max());
  CHECK(daemon.stop());
}

TEST_CASE("clients: pipelining thousands of requests and reading later gives every answer once, in order") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE(daemon.started());
  Client client = Client::tcp(daemon.port());
  const int requests = 2000;
  REQUIRE(client.send(std::string(requests, '\n')));
  client.finish_sending();
  std::string line = client.read_line();
  CHECK(line == "2");
  int answers = 1;
  while (!(line = client.read_line()).empty()) ++answers;
  CHECK(answers == requests);
  CHECK_FALSE(client.failed());
  CHECK(daemon.stop());
}

TEST_CASE("clients: over the limit is refused at once and said once") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"echo", "--listen", "tcp:0:interface=127.0.0.1", "--max-connections", "3"});
  REQUIRE(daemon.started());
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(Client::tcp(daemon.port()));
    REQUIRE(clients.back().send("x"));
    CHECK(clients.back().read_exactly(1) == "x");
  }
  for (int i = 0; i < 4; ++i) {
    Client refused = Client::tcp(daemon.port());
    CHECK(refused.read_all().empty());
  }
  CHECK(count_of(daemon.log(), "the limit of 3 is reached") == 1);
  clients.clear();
  CHECK(daemon.wait_for_log("after 4 were refused"));
  Client after = Client::tcp(daemon.port());
  REQUIRE(after.send("x"));
  CHECK(after.read_exactly(1) == "x");
  CHECK(daemon.stop());
}

TEST_CASE("clients: one that says nothing is ended by the idle timeout") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"echo", "--listen", "tcp:0:interface=127.0.0.1", "--idle-timeout", "50ms"});
  REQUIRE(daemon.started());
  Client silent = Client::tcp(daemon.port());
  CHECK(silent.read_all().empty());
  CHECK(daemon.wait_for_log("idle for 50 ms"));
  CHECK(daemon.stop());
}

TEST_CASE("clients: resets in mid-reply leave the daemon and the others alone") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE(daemon.started());
  for (int i = 0; i < 200; ++i) {
    Client rude = Client::tcp(daemon.port());
    REQUIRE(rude.send(std::string(500, '\n')));
    rude.reset();
  }
  CHECK_FALSE(ask(daemon.port()).empty());
  CHECK(count_of(daemon.log(), "the worker") == 0);
  CHECK(daemon.stop());
}
