// Files that a stream sends: without a copy where it can, and with the same end wherever it cannot.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "services/testing/string_transport.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// A file with recognisable bytes.
struct NumberedFile {
  explicit NumberedFile(std::size_t size) : bytes(numbered_bytes(size)) {
    write_text(directory / "file", bytes);
    fd.reset(::open((directory / "file").c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(fd.open());
  }
  TemporaryDirectory directory;
  std::string bytes;
  Fd fd;
};

/// Sends "head:", a file and ":tail", as a protocol does that waits for output_drained().
struct Sender {
  NumberedFile& file;
  Script script;
  std::size_t sent = 0;
  int waits = 0;
  std::string failure;

  explicit Sender(NumberedFile& of) : file(of) {
    script.made = [this](Transport& transport) {
      transport.write("head:");
      go_on(transport);
    };
    script.drained = [this](Transport& transport) { go_on(transport); };
  }
  void go_on(Transport& transport) {
    const Result<std::size_t> taken = transport.write_file(file.fd.get(), sent, file.bytes.size() - sent);
    if (!taken) {
      failure = taken.error().message;
      transport.abort_connection();
      return;
    }
    sent += *taken;
    if (sent == file.bytes.size()) {
      transport.write(":tail");
      transport.lose_connection();
      return;
    }
    ++waits;
    CHECK(transport.congested());
  }
};

}  // namespace

TEST_CASE("stream: a file leaves after what was written before it, and before what is written after it") {
  Loop loop;
  NumberedFile file(100'000);
  Sender sender(file);
  LoneStream lone(loop, sender.script);
  CHECK(sender.sent == 100'000);
  REQUIRE(loop.turn_until([&] { return lone.peer().read_now(), lone.peer().ended(); }));
  CHECK(lone.peer().received() == "head:" + file.bytes + ":tail");
}

TEST_CASE("stream: a part of a file is sent from its place") {
  Loop loop;
  NumberedFile file(100'000);
  Script script;
  script.made = [&](Transport& transport) {
    const Result<std::size_t> taken = transport.write_file(file.fd.get(), 70'000, 5'000);
    REQUIRE(taken.ok());
    CHECK(*taken == 5'000);
    transport.lose_connection();
  };
  LoneStream lone(loop, script);
  REQUIRE(loop.turn_until([&] { return lone.peer().read_now(), lone.peer().ended(); }));
  CHECK(lone.peer().received() == file.bytes.substr(70'000, 5'000));
}

TEST_CASE("stream: a big file waits for a slow reader, arrives complete and in order, and costs little memory") {
  Loop loop;
  NumberedFile file(20'000'000);
  Sender sender(file);
  ScriptedFactory factory;
  factory.script = sender.script;
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  loop.turn(50);
  CHECK(sender.sent < 10'000'000);
  CHECK(loop.turn_until([&] { return peer.read_now(300'000), peer.ended(); }));
  CHECK(sender.waits > 2);
  CHECK(peer.received() == "head:" + file.bytes + ":tail");
}

TEST_CASE("stream: while a file waits, no more of it is taken, and nothing is piled up") {
  Loop loop;
  NumberedFile file(20'000'000);
  Script script;
  LoneStream lone(loop, script);
  std::size_t sent = 0;
  const auto offer = [&] {
    const Result<std::size_t> taken = lone.stream().write_file(file.fd.get(), sent, file.bytes.size() - sent);
    REQUIRE(taken.ok());
    sent += *taken;
    return *taken;
  };
  CHECK(offer() > 0);
  loop.turn(5);
  for (int i = 0; i < 10; ++i) (void)offer();
  const std::size_t before = sent;
  loop.turn(5);
  for (int i = 0; i < 10; ++i) CHECK(offer() == 0);
  CHECK(sent == before);
  CHECK(lone.stream().unsent_bytes() <= 2 * Transport::kFilePieceBytes);
}

TEST_CASE("stream: a file that has become shorter is an error, and so is one that cannot be read") {
  Loop loop;
  NumberedFile file(100'000);
  Script script;
  LoneStream lone(loop, script);
  REQUIRE(::ftruncate(file.fd.get(), 50'000) == 0);
  const Result<std::size_t> shorter = lone.stream().write_file(file.fd.get(), 0, 100'000);
  REQUIRE(!shorter.ok());
  CHECK(shorter.error().message == "the file has become shorter");
  CHECK(shorter.error().fault == Fault::damaged);
  const Fd directory(::open(file.directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Result<std::size_t> unreadable = lone.stream().write_file(directory.get(), 0, 10);
  REQUIRE(!unreadable.ok());
  CHECK(unreadable.error().message.find("reading the file: ") == 0);
}

TEST_CASE("stream: a file to a peer that has gone ends the connection, not the process") {
  Loop loop;
  NumberedFile file(100'000);
  bool lost = false;
  ScriptedFactory factory;
  Transport* transport = nullptr;
  factory.script.made = [&](Transport& made) { transport = &made; };
  factory.script.lost = [&](Transport&, const Error&) { lost = true; };
  factory.script.end = [](Transport&) {};
  Server server(loop, factory);
  {
    Peer peer = Peer::tcp(server.port());
    REQUIRE(loop.turn_until([&] { return transport != nullptr; }));
    transport->pause_reading();
    peer.reset();
  }
  for (int i = 0; i < 3 && !lost; ++i) {
    const Result<std::size_t> taken = transport->write_file(file.fd.get(), 0, 100'000);
    REQUIRE(taken.ok());
    loop.turn(3);
  }
  CHECK(lost);
}

TEST_CASE("stream: a file behind a closed gate waits for it, as anything that is written") {
  Loop loop;
  NumberedFile file(30'000);
  Sender sender(file);
  ScriptedFactory factory;
  factory.script = sender.script;
  Gate gate;
  gate.applied(1);
  ConnectionSet connections(loop.reactor, factory, "gated", {}, &gate);
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  Peer peer{Fd(ends[0])};
  REQUIRE(connections.adopt(Fd(ends[1]), StreamKind::unix_socket).ok());
  loop.turn(10);
  CHECK(peer.read_now() == 0);
  gate.pass(1);
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.ended(); }));
  CHECK(peer.received() == "head:" + file.bytes + ":tail");
}

TEST_CASE("transport: one that knows nothing of files sends them all the same, piece by piece") {
  NumberedFile file(100'000);
  testing::StringTransport transport;
  Result<std::size_t> taken = transport.write_file(file.fd.get(), 10, 99'990);
  REQUIRE(taken.ok());
  CHECK(*taken == 99'990);
  CHECK(transport.take_written() == file.bytes.substr(10));
  transport.set_congested(true);
  taken = transport.write_file(file.fd.get(), 0, 100'000);
  REQUIRE(taken.ok());
  CHECK(*taken == 0);
  transport.set_congested(false);
  REQUIRE(::ftruncate(file.fd.get(), 50'000) == 0);
  taken = transport.write_file(file.fd.get(), 0, 100'000);
  REQUIRE(!taken.ok());
  CHECK(taken.error().message == "the file has become shorter");
}
