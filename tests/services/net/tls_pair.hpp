// TlsPair: a client and a server that talk TLS in memory; the test carries the bytes, and cuts them.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "services/net/tls_layer.hpp"
#include "services/testing/string_transport.hpp"
#include "tests/services/net/certificates.hpp"
#include "tests/services/net/fixture.hpp"

namespace tap::tests {

/// One end: a scripted protocol on a layer on strings.
struct TlsEnd {
  TlsEnd(Loop& loop, const std::string& name) : place{loop.reactor, factory, name} {
    factory.script.made = [this](net::Transport& made) {
      transport = &made;
      if (on_made) on_made(made);
    };
    factory.script.data = [this](net::Transport& from, std::string_view data) {
      received += data;
      if (on_data) on_data(from, data);
    };
    factory.script.end = [this](net::Transport& from) {
      ended = true;
      if (lose_at_end) from.lose_connection();
    };
    factory.script.lost = [this](net::Transport&, const Error& reason) { lost = reason.message; };
  }
  void begin(net::TlsSession session, net::TlsLayer::Settled settled = nullptr) {
    layer = std::make_unique<net::TlsLayer>(place, std::move(session), std::move(settled));
    layer->attach(below);
    layer->connection_made();
  }

  ScriptedFactory factory;
  net::LayerPlace place;
  testing::StringTransport below;
  std::unique_ptr<net::TlsLayer> layer;
  net::Transport* transport = nullptr;  ///< what the protocol sees
  std::function<void(net::Transport&)> on_made;
  std::function<void(net::Transport&, std::string_view)> on_data;
  bool lose_at_end = true;
  std::string received;
  std::string lost;
  bool ended = false;
};

struct TlsPair {
  explicit TlsPair(Loop& loop) : server(loop, "server"), client(loop, "client") {}

  /// Carries what both have written, in pieces of `piece` bytes, until nobody has more to say.
  void carry(std::size_t piece = 1 << 20) {
    for (;;) {
      const std::string up = client.below.take_written();
      const std::string down = server.below.take_written();
      if (up.empty() && down.empty()) return;
      feed(*server.layer, up, piece);
      feed(*client.layer, down, piece);
    }
  }
  static void feed(net::Protocol& layer, std::string_view bytes, std::size_t piece) {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size())))
      layer.data_received(bytes.substr(0, piece));
  }

  TlsEnd server;
  TlsEnd client;
};

}  // namespace tap::tests
