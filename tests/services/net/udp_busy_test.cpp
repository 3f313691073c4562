// A kernel that takes no datagram at present. On the loopback interface there is none,
// so this program has its own sendmsg(2).
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "tests/services/net/udp_fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

int busy_calls = 0;
int interrupted_calls = 0;

}  // namespace

// Takes the C library's place in the whole program, and is the same while nothing is asked of it.
extern "C" ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  if (interrupted_calls > 0) {
    --interrupted_calls;
    errno = EINTR;
    return -1;
  }
  if (busy_calls > 0) {
    --busy_calls;
    errno = EAGAIN;
    return -1;
  }
  return ::syscall(SYS_sendmsg, fd, message, flags);
}

TEST_CASE("udp: what the kernel does not take at once waits for it, in order, and nothing is lost") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  UdpPeer peer;
  const DatagramAddress to = DatagramAddress::parse("127.0.0.1", peer.port()).value();
  for (const char* text : {"one", "two", "three"}) server.transport->write(text, to);
  busy_calls = 1000;
  loop.turn(5);
  CHECK(busy_calls < 1000);
  CHECK_FALSE(peer.receive().has_value());
  busy_calls = 0;
  REQUIRE(loop.turn_until([&] { return server.transport->counts().sent == 3; }));
  CHECK(peer.receive() == "one");
  CHECK(peer.receive() == "two");
  CHECK(peer.receive() == "three");
  CHECK(server.transport->counts().dropped == 0);
}

TEST_CASE("udp: a drain waits for a kernel that takes nothing at present") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  UdpPeer peer;
  server.transport->write("late", DatagramAddress::parse("127.0.0.1", peer.port()).value());
  bool done = false;
  busy_calls = 3;
  server.transport->drain([&] { done = true; });
  REQUIRE(loop.turn_until([&] { return done; }));
  CHECK(busy_calls == 0);
  CHECK(peer.receive() == "late");
}

TEST_CASE("udp: a signal during a send is no reason to lose the datagram") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  UdpPeer peer;
  interrupted_calls = 2;
  server.transport->write("still here", DatagramAddress::parse("127.0.0.1", peer.port()).value());
  loop.turn(2);
  CHECK(interrupted_calls == 0);
  CHECK(peer.receive() == "still here");
}
