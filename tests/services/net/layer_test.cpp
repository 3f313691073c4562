// A layer that changes nothing: what the protocol above is told, and when.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "services/net/layer.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// Delivers so many bytes at once, for as long as reading is not paused.
class PieceLayer final : public Layer {
 public:
  PieceLayer(const LayerPlace& place, std::size_t piece_bytes) : Layer(place), piece_bytes_(piece_bytes) {}
  void connection_made() override { (void)open_above(); }

 private:
  void consume(std::string_view& data) override {
    while (!data.empty() && !paused()) {
      const std::string_view piece = data.substr(0, piece_bytes_);
      data.remove_prefix(piece.size());
      deliver(piece);
    }
  }

  std::size_t piece_bytes_;
};

/// A server of `script` behind such a layer, and one client.
struct Layered {
  explicit Layered(Loop& loop, std::size_t piece_bytes = 4)
      : account(loop.reactor.open_account("layered")),
        place{loop.reactor, above, "layered"},
        factory(place, piece_bytes),
        listener(loop.reactor, factory, "layered", {}) {
    Result<BoundEndpoint> bound = bind_endpoint(*parse_endpoint("tcp:0:interface=127.0.0.1"), std::nullopt);
    REQUIRE(bound.ok());
    const std::uint16_t port = port_of(bound->fd.get());
    listener.connections().share({.account = account});
    REQUIRE(listener.listen(std::move(bound->fd), StreamKind::tcp, 8).ok());
    peer = std::make_unique<Peer>(Peer::tcp(port));
  }

  class PieceFactory final : public Factory {
   public:
    PieceFactory(const LayerPlace& place, std::size_t piece_bytes) : place_(place), piece_bytes_(piece_bytes) {}
    [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override {
      auto layer = std::make_unique<PieceLayer>(place_, piece_bytes_);
      last = layer.get();
      return layer;
    }
    const Protocol* last = nullptr;

   private:
    const LayerPlace& place_;
    std::size_t piece_bytes_;
  };

  ScriptedFactory above;
  Reactor::Account account;
  LayerPlace place;
  PieceFactory factory;
  Listener listener;
  std::unique_ptr<Peer> peer;
};

}  // namespace

TEST_CASE("layer: a protocol that pauses after each piece gets every piece in its order, then the end") {
  Loop loop;
  Layered layered(loop);
  std::string heard;
  int pieces = 0;
  bool ended = false;
  Transport* transport = nullptr;
  layered.above.script.data = [&](Transport& own, std::string_view data) {
    heard += data;
    ++pieces;
    transport = &own;
    own.pause_reading();
  };
  layered.above.script.end = [&](Transport&) { ended = true; };
  layered.peer->send("0123456789");
  REQUIRE(loop.turn_until([&] { return pieces == 1; }));
  layered.peer->send("abcdef");
  layered.peer->finish_sending();
  for (int wanted = 2; wanted <= 5; ++wanted) {
    loop.turn(5);
    CHECK(pieces == wanted - 1);  // nothing comes while it is paused
    CHECK_FALSE(ended);
    transport->resume_reading();
    CHECK(pieces == wanted - 1);  // and never from inside the call
    // The held part is delivered before anything new is read: it cannot grow.
    REQUIRE(loop.turn_until([&] { return pieces == wanted; }));
    CHECK(heard == std::string("0123456789abcdef").substr(0, heard.size()));
  }
  CHECK(heard == "0123456789abcdef");
  transport->resume_reading();
  CHECK(loop.turn_until([&] { return ended; }));
}

TEST_CASE("layer: a protocol that pauses at every piece makes it hold no more than one read") {
  Loop loop;
  Layered layered(loop, 1000);
  std::string heard;
  std::size_t most = 0;
  Transport* paused = nullptr;
  layered.above.script.data = [&](Transport& own, std::string_view data) {
    heard += data;
    own.pause_reading();
    paused = &own;
  };
  const std::string bytes = numbered_bytes(1 << 20);
  std::size_t sent = 0;
  REQUIRE(loop.turn_until([&] {
    sent += layered.peer->send_some(std::string_view(bytes).substr(sent));
    if (layered.factory.last != nullptr) most = std::max(most, layered.factory.last->buffered_bytes());
    if (paused != nullptr) std::exchange(paused, nullptr)->resume_reading();
    return heard.size() == bytes.size();
  }));
  CHECK(heard == bytes);
  CHECK(most > 0);
  CHECK(most <= 2 * Reactor::kReceiveBytesMax);  // memory, which a string takes in steps
}

TEST_CASE("layer: what is thrown above it ends its connection, is said once, and is counted for its service") {
  Loop loop;
  for (const bool building : {false, true}) {
    CAPTURE(building);
    Layered layered(loop);
    const std::uint64_t before = loop.reactor.exceptions(layered.account);
    layered.above.script.data = [](Transport&, std::string_view) { throw std::runtime_error("planted"); };
    if (building) layered.above.script.made = [](Transport&) { throw std::runtime_error("planted"); };
    layered.peer->send("x");
    REQUIRE(loop.turn_until([&] { return layered.peer->read_now(), layered.peer->gone(); }));
    CHECK(loop.reactor.exceptions(layered.account) == before + 1);
  }
  CHECK(loop.log.count("the protocol threw: planted") == 2);
}
