// Bytes that go from socket to socket: inside the kernel where that can be,
// and with the same result wherever it cannot.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>

#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// Two connections; what comes on the one leaves on the other.
struct Forwarder {
  explicit Forwarder(Loop& loop) : from(loop, from_script), to(loop, to_script) {
    from_script.data = [this](Transport& transport, std::string_view data) {
      copied += data.size();
      to.stream().write(data);
      if (to.stream().congested()) transport.pause_reading();
    };
    from_script.forwarded = [this](Transport&, std::size_t bytes) { forwarded += bytes; };
    from_script.end = [this](Transport&) { to.stream().lose_connection(); };
    to_script.drained = [this](Transport&) { from.stream().resume_reading(); };
    from.stream().forward_to(&to.stream());
  }

  /// Sends all of `bytes`, and the end, while `reads` tells whether the other side reads now.
  void carry(Loop& loop, const std::string& bytes, const std::function<bool(std::size_t)>& reads) {
    std::size_t sent = 0;
    std::size_t turns = 0;
    REQUIRE(loop.turn_until([&] {
      if (sent < bytes.size()) {
        sent += from.peer().send_some(std::string_view(bytes).substr(sent));
        if (sent == bytes.size()) from.peer().finish_sending();
      }
      if (reads(turns++)) to.peer().read_now();
      return to.peer().ended();
    }));
  }

  Script from_script;
  Script to_script;
  LoneStream from;
  LoneStream to;
  std::size_t copied = 0;
  std::size_t forwarded = 0;
};

}  // namespace

TEST_CASE("stream: much that is forwarded passes inside the kernel, and all of it arrives in its order") {
  Loop loop;
  Forwarder forwarder(loop);
  const std::string bytes = numbered_bytes(16 << 20);
  forwarder.carry(loop, bytes, [](std::size_t) { return true; });
  CHECK(forwarder.to.peer().received() == bytes);
  CHECK(forwarder.copied + forwarder.forwarded == bytes.size());
  CHECK(forwarder.forwarded > bytes.size() / 4);
  CHECK(forwarder.from.ended == 0);  // it is its protocol's business what an end means
}

TEST_CASE("stream: a peer that reads now and then stops a forwarder, which loses nothing and keeps little") {
  Loop loop;
  Forwarder forwarder(loop);
  const std::string bytes = numbered_bytes(8 << 20);
  std::size_t most = 0;
  forwarder.carry(loop, bytes, [&](std::size_t turn) {
    most = std::max(most, forwarder.to.stream().unsent_bytes());
    return turn % 7 == 0;
  });
  CHECK(forwarder.to.peer().received() == bytes);
  CHECK(forwarder.copied + forwarder.forwarded == bytes.size());
  CHECK(forwarder.forwarded > 0);
  CHECK(most > 0);
  CHECK(most <= SplicePipe::kBytesMax + StreamTransport::kHighWaterBytes);
}

TEST_CASE("stream: little is not forwarded but copied, and what was written before it leaves before it") {
  Loop loop;
  Forwarder forwarder(loop);
  forwarder.to.stream().write("before,");
  forwarder.from.peer().send("little");
  REQUIRE(loop.turn_until([&] { return forwarder.to.peer().read_now(), forwarder.to.peer().received().size() == 13; }));
  CHECK(forwarder.to.peer().received() == "before,little");
  CHECK(forwarder.forwarded == 0);
}

TEST_CASE("stream: forwarding that is called off goes on as reading") {
  Loop loop;
  Forwarder forwarder(loop);
  forwarder.from_script.forwarded = [&](Transport& transport, std::size_t bytes) {
    forwarder.forwarded += bytes;
    transport.forward_to(nullptr);
  };
  const std::string bytes = numbered_bytes(4 << 20);
  forwarder.carry(loop, bytes, [](std::size_t) { return true; });
  CHECK(forwarder.to.peer().received() == bytes);
  CHECK(forwarder.forwarded > 0);
  CHECK(forwarder.forwarded <= SplicePipe::kBytesMax);
}

TEST_CASE(
    "stream: a side that is lost while much is forwarded ends as it does otherwise, and the pipe is empty for others") {
  Loop loop;
  for (const bool source_goes : {false, true}) {
    CAPTURE(source_goes);
    Forwarder forwarder(loop);
    std::size_t sent = 0;
    const std::string bytes = numbered_bytes(1 << 20);
    REQUIRE(loop.turn_until([&] {
      sent += forwarder.from.peer().send_some(bytes);
      if (forwarder.forwarded < (2 << 20)) forwarder.to.peer().read_now();
      return forwarder.forwarded >= (2 << 20) && forwarder.to.stream().unsent_bytes() != 0;
    }));
    forwarder.from_script.forwarded = nullptr;
    if (source_goes) {
      forwarder.from.peer().close();
      REQUIRE(loop.turn_until([&] {
        forwarder.to.peer().read_now();
        return forwarder.to.peer().ended() || forwarder.from.ended == 1;
      }));
    } else {
      forwarder.to.peer().close();
      REQUIRE(loop.turn_until([&] {
        forwarder.from.peer().send_some(bytes);
        return forwarder.to.ended == 1;
      }));
      forwarder.from.stream().forward_to(nullptr);
    }
    Forwarder other(loop);
    other.carry(loop, bytes, [](std::size_t) { return true; });
    CHECK(other.to.peer().received() == bytes);
  }
}
