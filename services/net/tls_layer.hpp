// TlsLayer: TLS between a transport and a protocol, on either side of a connection.
//
// Bytes are handed to OpenSSL and taken from it in memory; what leaves is written to the transport below, so that its
// flow control, its gate and its stop work as for plain bytes.
// Tests: tests/services/net/tls_layer_test.cpp
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "services/net/layer.hpp"
#include "services/net/tls_context.hpp"

struct bio_st;
struct bio_method_st;

namespace tap::net {

/// The protocol above is made when the handshake is over.
///
/// Ends: lose_write_connection() sends close_notify and then the transport's own end; a peer that ends without its
/// close_notify may have been cut off by somebody between us: the protocol is told of the loss, not of an end.
/// Written bytes of one call from below leave as few records: they wait for the end of that call, or for a full record.
class TlsLayer final : public Layer {
 public:
  static constexpr std::uint64_t kHandshakeWithinMs = 10'000;
  static constexpr std::size_t kRecordBytesMax = 16'384;  // RFC 8446, 5.1

  /// Hears, once, of the protocol above, or why there will be none; from deep inside: it acts later.
  using Settled = std::function<void(Result<Protocol*>)>;

  TlsLayer(const LayerPlace& place, TlsSession session, Settled settled = nullptr);
  ~TlsLayer() override;

  /// Aborts a handshake that nobody waits for any more; nobody hears of it.
  void abandon();

  void connection_made() override;
  void end_received() override;
  void output_drained() override;
  void connection_lost(const Error& reason) override;
  void before_stop() override;

 private:
  class Inside;
  struct Io;

  void consume(std::string_view& data) override;
  void write(std::string_view bytes) override;
  void lose_connection() override;
  void lose_write_connection() override;
  [[nodiscard]] bool ending() const override { return closing_ || transport().ending(); }
  [[nodiscard]] const TlsInfo* tls() const override { return &info_; }

  void shake_hands();
  void read_records();
  void encrypt(std::string_view bytes);
  void encrypt_waiting();
  void send_close_notify();
  void broken(int result);
  void settle(Result<Protocol*> result);
  void learn();

  TlsSession session_;
  Settled settled_;
  TlsInfo info_;
  std::string_view input_;  ///< while consume() runs
  std::string waiting_;     ///< written above and not encrypted yet
  int inside_ = 0;          ///< calls from below under way
  bool shaken_ = false;
  bool broken_ = false;
  bool closing_ = false;
  bool close_sent_ = false;
  bool peer_closed_ = false;
};

/// Makes the layers of a tls: endpoint's connections. Lifetime: as LayerPlace's; `keys` outlives it.
class TlsServerFactory final : public Factory {
 public:
  TlsServerFactory(LayerPlace place, TlsServer& keys) : place_(std::move(place)), keys_(keys) {}
  [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override;

 private:
  LayerPlace place_;
  TlsServer& keys_;
};

}  // namespace tap::net
