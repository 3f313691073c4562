#include "services/net/inherited_sockets.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

Endpoint endpoint(const std::string& text) { return std::move(parse_endpoint(text)).value(); }

std::string refusal(const InheritedSockets& sockets, const std::string& text) {
  const Result<int> found = sockets.find(endpoint(text));
  if (found.ok()) return "found " + std::to_string(*found);
  CHECK(found.error().fault == Fault::unavailable);
  return found.error().message;
}

}  // namespace

TEST_CASE("inherited sockets: they are found by name, by place, and by place among those of a name") {
  const InheritedSockets sockets("7", "4", "fib:web:fib:", 7);
  CHECK(sockets.descriptors() == std::vector<int>{3, 4, 5, 6});
  CHECK(refusal(sockets, "systemd:name=fib") == "found 3");
  CHECK(refusal(sockets, "systemd:name=web") == "found 4");
  CHECK(refusal(sockets, "systemd:name=fib:index=1") == "found 5");
  CHECK(refusal(sockets, "systemd:index=3") == "found 6");
  CHECK(sockets.name(6) == "unknown");
  CHECK(refusal(sockets, "systemd:name=other") ==
        "cannot use the socket of systemd:name=other: systemd has handed over fib, web, fib, unknown");
  CHECK(refusal(sockets, "systemd:name=fib:index=2").find("systemd has handed over") != std::string::npos);
}

TEST_CASE("inherited sockets: what is meant for another process, or makes no sense, is nothing") {
  struct Row {
    const char* pid;
    const char* count;
  };
  for (const Row& row : {Row{"8", "1"}, Row{nullptr, "1"}, Row{"7", nullptr}, Row{"7", "-1"}, Row{"7", "x"},
                         Row{"7", "1000000"}, Row{"", "1"}, Row{"7 ", "1"}, Row{"99999999999", "1"}}) {
    CHECK(InheritedSockets(row.pid, row.count, "fib", 7).descriptors().empty());
  }
  CHECK(refusal(InheritedSockets(), "systemd:name=fib") ==
        "cannot use the socket of systemd:name=fib: systemd has handed over none (LISTEN_FDS); is the .socket unit "
        "started?");
}

TEST_CASE("inherited sockets: the domain is looked at, the variables are taken away, and exec closes the sockets") {
  const ChildEnd child = in_child([] {
    for (int fd = 3; fd < 20; ++fd) ::close(fd);
    (void)!::socket(AF_INET, SOCK_STREAM, 0);
    (void)!::socket(AF_UNIX, SOCK_STREAM, 0);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "3", 1);  // one more than there are
    ::setenv("LISTEN_FDNAMES", "a:b:c", 1);
    const InheritedSockets sockets = InheritedSockets::take_from_environment();
    TAP_ASSERT((sockets.descriptors() == std::vector<int>{3, 4}));
    TAP_ASSERT(sockets.find(endpoint("systemd:domain=INET:index=0")).ok());
    TAP_ASSERT(sockets.find(endpoint("systemd:domain=UNIX:index=1")).ok());
    TAP_ASSERT(!sockets.find(endpoint("systemd:domain=INET6:index=0")).ok());
    TAP_ASSERT(::getenv("LISTEN_FDS") == nullptr && ::getenv("LISTEN_PID") == nullptr);
    TAP_ASSERT((::fcntl(3, F_GETFD) & FD_CLOEXEC) != 0);
  });
  CHECK_MESSAGE(child.code == 0, child.err);
}
