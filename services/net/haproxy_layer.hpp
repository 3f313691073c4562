// HaproxyLayer: reads the PROXY header, then passes everything on, and tells the client's address as the peer's.
//
// Tests: tests/services/net/haproxy_layer_test.cpp
#pragma once

#include <string>

#include "services/net/layer.hpp"

namespace tap::net {

/// A connection that does not begin with a header is failed: who could leave it out could lie about his address. Listen
/// where only the proxy can reach.
class HaproxyLayer final : public Layer {
 public:
  /// The header follows the connection at once; this is for a lost packet (proxy-protocol.txt asks for 3 s and more).
  static constexpr std::uint64_t kHeaderWithinMs = 5'000;

  using Layer::Layer;
  void connection_made() override;
  void end_received() override;

 private:
  void consume(std::string_view& data) override;
  void fail(std::string_view why) override;
  [[nodiscard]] std::string peer() const override;

  std::string header_;  ///< as far as it has come
  std::string source_;
};

/// Lifetime: as LayerPlace's.
class HaproxyFactory final : public Factory {
 public:
  explicit HaproxyFactory(LayerPlace place) : place_(std::move(place)) {}
  [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override { return std::make_unique<HaproxyLayer>(place_); }

 private:
  LayerPlace place_;
};

}  // namespace tap::net
