// The fibonacci and echo services, without a socket. Decimal's own tests are in fibonacci/decimal_test.cpp.
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "services/echo/echo.hpp"
#include "services/fibonacci/fibonacci.hpp"
#include "services/fibonacci/state.hpp"
#include "services/testing/string_transport.hpp"

using namespace tap;
using namespace tap::services;
using tap::testing::StringTransport;

namespace {

std::unique_ptr<Service> make(const Kind& kind, const std::map<std::string, std::string>& given = {}) {
  Result<Options> options = kind.check(given);
  REQUIRE(options.ok());
  return kind.create(*options);
}

/// One client of a service.
struct Client {
  explicit Client(Service& service) : protocol(service.build_protocol()) {
    protocol->attach(transport);
    protocol->connection_made();
  }
  std::string ask(const std::string& request) {
    protocol->data_received(request);
    return transport.take_written();
  }
  StringTransport transport;
  std::unique_ptr<net::Protocol> protocol;
};

/// Fibonacci(n) as a service answers it: request k gets Fibonacci(k + 2).
std::string answer_after(Client& client, int requests) {
  std::string last;
  for (int i = 0; i < requests; ++i) last = client.ask("x");
  return last;
}

Bytes saved(Service& service) {
  Result<Bytes> payload = service.state()->save();
  REQUIRE(payload.ok());
  return std::move(payload).value();
}

}  // namespace

TEST_CASE("fibonacci: the first answers are 2, 3, 5, 8 and 13") {
  const std::unique_ptr<Service> service = make(fibonacci_kind());
  Client client(*service);
  for (const char* answer : {"2", "3", "5", "8", "13"}) CHECK(client.ask("anything") == answer);
}

TEST_CASE("fibonacci: whatever one read delivers is one request, and the answer is the digits only") {
  const std::unique_ptr<Service> service = make(fibonacci_kind(), {{"framing", "none"}});
  Client client(*service);
  CHECK(client.ask("\n") == "2");
  CHECK(client.ask("many\nlines\nat\nonce\n") == "3");
  CHECK(client.ask(std::string(65'536, '\0')) == "5");
}

TEST_CASE("fibonacci: with framing = line each line is a request, and each answer a line") {
  const std::unique_ptr<Service> service = make(fibonacci_kind(), {{"framing", "line"}});
  Client client(*service);
  CHECK(client.ask("\n") == "2\n");
  CHECK(client.ask("a\r\nb\n\n") == "3\n5\n8\n");
  CHECK(client.ask("not yet").empty());
  CHECK(client.ask(" ended\n") == "13\n");
}

TEST_CASE("fibonacci: the numbers go on beyond 64 bits") {
  const std::unique_ptr<Service> service = make(fibonacci_kind());
  Client client(*service);
  CHECK(answer_after(client, 90) == "7540113804746346429");  // F(92), the last that fits in a signed one
  CHECK(client.ask("x") == "12200160415121876738");          // F(93), the last that fits in 64 bits
  CHECK(client.ask("x") == "19740274219868223167");          // request 92, the first that does not
  CHECK(client.ask("x") == "31940434634990099905");
  CHECK(answer_after(client, 200 - 95) == "280571172992510140037611932413038677189525");                  // F(200)
  CHECK(answer_after(client, 100) == "222232244629420445529739893461909967206666939096499764990979600");  // F(300)
}

TEST_CASE("fibonacci: clients share one sequence, each number is given once") {
  const std::unique_ptr<Service> service = make(fibonacci_kind());
  Client first(*service);
  Client second(*service);
  CHECK(first.ask("x") == "2");
  CHECK(second.ask("x") == "3");
  CHECK(second.ask("x") == "5");
  CHECK(first.ask("x") == "8");
  Client third(*service);
  CHECK(third.ask("x") == "13");
}

TEST_CASE("fibonacci: its state is saved and restored, and the numbers go on") {
  const Kind kind = fibonacci_kind();
  const std::unique_ptr<Service> service = make(kind);
  Client client(*service);
  answer_after(client, 100);
  const Bytes payload = saved(*service);
  CHECK(service->state()->changes() == 100);
  const std::string next = client.ask("x");

  const std::unique_ptr<Service> resumed = make(kind, {{"framing", "line"}});
  REQUIRE(resumed->state()->restore(payload, service->state()->schema_version()).ok());
  CHECK(saved(*resumed) == payload);
  Client other(*resumed);
  CHECK(other.ask("\n") == next + "\n");
}

TEST_CASE("fibonacci: a new service's state is the kind's initial one") {
  const Kind kind = fibonacci_kind();
  const std::unique_ptr<Service> service = make(kind);
  const Result<Bytes> initial = kind.state->initial();
  REQUIRE(initial.ok());
  CHECK(saved(*service) == *initial);
  CHECK(kind.state->check(*initial, 1).ok());
}

TEST_CASE("fibonacci: a damaged or a newer state is refused, and the numbers go on as before") {
  const std::unique_ptr<Service> service = make(fibonacci_kind());
  Client client(*service);
  CHECK(answer_after(client, 5) == "13");
  const Bytes payload = saved(*service);
  for (std::size_t size = 0; size < payload.size(); ++size) {
    CHECK(!service->state()->restore(payload.substr(0, size), 1).ok());
  }
  CHECK(!service->state()->restore(payload + '\0', 1).ok());
  const Result<void> newer = service->state()->restore(payload, 2);
  REQUIRE(!newer.ok());
  CHECK(newer.error().fault == Fault::config);
  CHECK(client.ask("x") == "21");
}

TEST_CASE("fibonacci: a recorded change depends on nothing but the state") {
  FibonacciState one;
  FibonacciState two;
  for (int i = 0; i < 500; ++i) {
    apply(one, Advanced{});
    apply(two, Advanced{});
  }
  CHECK(one == two);
  CHECK(one.given == 500);
  Decimal sum = one.a;
  sum += one.b;
  apply(two, Advanced{});
  CHECK(two.b == sum);
  CHECK(two.a == one.b);
}

TEST_CASE("echo: sends back what it receives, byte for byte") {
  const std::unique_ptr<Service> service = make(echo_kind());
  CHECK(service->state() == nullptr);
  Client client(*service);
  std::string all;
  for (int value = 0; value < 256; ++value) all += static_cast<char>(value);
  CHECK(client.ask(all) == all);
  CHECK(client.ask("x") == "x");
  client.protocol->end_received();
  CHECK(client.transport.lost());
}
