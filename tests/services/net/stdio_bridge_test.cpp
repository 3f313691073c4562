#include "services/net/stdio_bridge.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <thread>

#include "services/net/connections.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/socket.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

struct Pipe {
  Fd read;
  Fd write;
};

Pipe make_pipe() {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

/// Everything up to the end of a descriptor.
std::string read_to_end(int fd) {
  std::string all;
  char buffer[65'536];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return all;
    all.append(buffer, static_cast<std::size_t>(got));
  }
}

void write_all(int fd, const std::string& bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t sent = ::write(fd, bytes.data() + at, bytes.size() - at);
    if (sent <= 0) return;
    at += static_cast<std::size_t>(sent);
  }
}

Fd open_bridge(StdioBridge& bridge, int input, int output) {
  Result<Fd> end = bridge.open(input, output);
  REQUIRE(end.ok());
  return std::move(end).value();
}

}  // namespace

TEST_CASE("stdio bridge: what comes in on one descriptor goes out on the other, as the service answers") {
  Pipe in = make_pipe();
  Pipe out = make_pipe();
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  bool over = false;
  {
    StdioBridge bridge;
    ConnectionSet connections(loop.reactor, factory, "served", {});
    REQUIRE(connections.adopt(open_bridge(bridge, in.read.get(), out.write.get()), StreamKind::unix_socket).ok());
    connections.when_empty([&] { over = true; });
    write_all(in.write.get(), "through the bridge");
    in.write.reset();
    CHECK(loop.turn_until([&] { return over; }));
  }
  out.write.reset();
  CHECK(read_to_end(out.read.get()) == "through the bridge");
}

TEST_CASE("stdio bridge: large amounts pass both ways, complete and in order") {
  Pipe in = make_pipe();
  Pipe out = make_pipe();
  const std::string all = numbered_bytes(5'000'000);
  std::string back;
  {
    std::thread feeder([&] {
      write_all(in.write.get(), all);
      in.write.reset();
    });
    std::thread eater([&] { back = read_to_end(out.read.get()); });
    {
      Loop loop;
      ScriptedFactory factory;
      factory.script = echo_script();
      bool over = false;
      StdioBridge bridge;
      ConnectionSet connections(loop.reactor, factory, "served", {});
      CHECK(connections.adopt(open_bridge(bridge, in.read.get(), out.write.get()), StreamKind::unix_socket).ok());
      connections.when_empty([&] { over = true; });
      CHECK(loop.turn_until([&] { return over; }));
    }
    out.write.reset();
    feeder.join();
    eater.join();
  }
  CHECK(back == all);
}

TEST_CASE("stdio bridge: a regular file may be the input, and the output") {
  const TemporaryDirectory directory;
  const std::string all = numbered_bytes(300'000);
  write_text(directory / "in", all);
  const Fd input(::open((directory / "in").c_str(), O_RDONLY | O_CLOEXEC));
  const Fd output(::open((directory / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  bool over = false;
  {
    StdioBridge bridge;
    ConnectionSet connections(loop.reactor, factory, "served", {});
    REQUIRE(connections.adopt(open_bridge(bridge, input.get(), output.get()), StreamKind::unix_socket).ok());
    connections.when_empty([&] { over = true; });
    CHECK(loop.turn_until([&] { return over; }));
  }
  CHECK(read_text(directory / "out") == all);
}

TEST_CASE("stdio bridge: an empty input ends the stream, and an answer still comes out") {
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  Pipe out = make_pipe();
  {
    StdioBridge bridge;
    Fd end = open_bridge(bridge, null.get(), out.write.get());
    CHECK(read_to_end(end.get()).empty());
    write_all(end.get(), "answered anyway");
  }
  out.write.reset();
  CHECK(read_to_end(out.read.get()) == "answered anyway");
}

TEST_CASE("stdio bridge: it ends when the loop's end closes, although the input stays silent") {
  const Pipe in = make_pipe();
  Pipe out = make_pipe();
  {
    StdioBridge bridge;
    Fd end = open_bridge(bridge, in.read.get(), out.write.get());
    write_all(end.get(), "last words");
    end.reset();
  }  // waits for both of its threads
  out.write.reset();
  CHECK(read_to_end(out.read.get()) == "last words");
}

TEST_CASE("stdio bridge: it ends when the loop's end closes with input that nobody read") {
  const Pipe in = make_pipe();
  Pipe out = make_pipe();
  {
    StdioBridge bridge;
    Fd end = open_bridge(bridge, in.read.get(), out.write.get());
    write_all(in.write.get(), "unheard");
    pollfd ready{end.get(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, kPatienceMs) == 1);
    write_all(end.get(), "last words");
    end.reset();
  }
  out.write.reset();
  CHECK(read_to_end(out.read.get()) == "last words");
}

TEST_CASE("stdio bridge: an output that goes away is told to the loop, also while that waits for room") {
  ::signal(SIGPIPE, SIG_IGN);
  const Pipe in = make_pipe();
  Pipe out = make_pipe();
  StdioBridge bridge;
  Fd end = open_bridge(bridge, in.read.get(), out.write.get());
  REQUIRE(::fcntl(end.get(), F_SETFL, O_NONBLOCK) == 0);
  const std::string much = numbered_bytes(1 << 20);
  pollfd room{end.get(), POLLOUT, 0};
  // Until nobody takes anything any more: the pipe is full, and the socket before it.
  while (::poll(&room, 1, 100) == 1) (void)!::send(end.get(), much.data(), much.size(), MSG_NOSIGNAL);
  out.read.reset();
  CHECK(::poll(&room, 1, kPatienceMs) == 1);
  ssize_t sent = 1;
  while (sent > 0 && ::poll(&room, 1, kPatienceMs) == 1) sent = ::send(end.get(), "x", 1, MSG_NOSIGNAL);
  CHECK(sent < 0);
  CHECK(errno == EPIPE);
  end.reset();
}

TEST_CASE("stdio bridge: after abandon it waits for nobody, not even for an output that nobody reads") {
  ::signal(SIGPIPE, SIG_IGN);
  const Pipe in = make_pipe();
  const Pipe out = make_pipe();
  {
    StdioBridge bridge;
    Fd end = open_bridge(bridge, in.read.get(), out.write.get());
    const std::string much = numbered_bytes(1 << 20);
    while (::send(end.get(), much.data(), much.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) continue;
    end.reset();
    bridge.abandon();
  }  // or this would wait for ever
  char byte = 0;
  CHECK(::read(out.read.get(), &byte, 1) == 1);
}

TEST_CASE("stdio bridge: an input that cannot be read is an end, not a loop") {
  Pipe out = make_pipe();
  const Fd write_only(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  StdioBridge bridge;
  const Fd end = open_bridge(bridge, write_only.get(), out.write.get());
  CHECK(read_to_end(end.get()).empty());
}
