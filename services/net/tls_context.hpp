// TlsServer, TlsClient: keys, certificates and rules, from which the sessions of single connections are made.
//
// TLS 1.2 and 1.3 by OpenSSL 3; no renegotiation, no compression, no early data; sessions are resumed by tickets only,
// so that nothing is kept per client.
// Tests: tests/services/net/tls_context_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/client_endpoint.hpp"
#include "services/net/endpoint.hpp"
#include "services/net/log.hpp"
#include "state/base/result.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace tap::net {

struct TlsFree {
  void operator()(ssl_ctx_st* context) const;
  void operator()(ssl_st* session) const;
};

/// What a server's sessions are made of; immutable, so that connections keep what they began with.
struct TlsKeys {
  std::unique_ptr<ssl_ctx_st, TlsFree> context;
  std::map<std::string, std::unique_ptr<ssl_ctx_st, TlsFree>> named;  ///< by server name, for SNI
  std::string alpn;                                                   ///< as it goes over the wire
};

/// One connection's TLS. Lifetime: `keys` lives as long as the session needs it.
struct TlsSession {
  std::shared_ptr<const TlsKeys> keys;
  std::unique_ptr<ssl_st, TlsFree> ssl;
};

/// The keys of one tls: endpoint. They are read again when their files have changed, by refresh(); a file that is
/// broken then leaves the old ones in use.
///
/// Thread: the loop's.
class TlsServer {
 public:
  /// The files are looked at no more often than this.
  static constexpr std::uint64_t kLookEveryMs = 1'000;
  /// A key, certificate or chain of more is not read.
  static constexpr std::size_t kFileBytesMax = std::size_t{1} << 20U;
  /// Of an sni directory.
  static constexpr std::size_t kNamesMax = 4'096;

  /// Errors: config, with the file and what is wrong with it.
  [[nodiscard]] static Result<std::unique_ptr<TlsServer>> load(const TlsServerSettings& settings);

  /// Looks whether files have changed. What comes of it is said in the log, once per change.
  void refresh(std::uint64_t now_ms, LogSink& log, std::string_view who);
  /// For a connection that has just been accepted. Errors: internal: no memory.
  [[nodiscard]] Result<TlsSession> make_session() const;

 private:
  explicit TlsServer(TlsServerSettings settings) : settings_(std::move(settings)) {}
  [[nodiscard]] static Result<std::shared_ptr<const TlsKeys>> read(const TlsServerSettings& settings);
  [[nodiscard]] std::string marks() const;

  TlsServerSettings settings_;
  std::shared_ptr<const TlsKeys> keys_;
  std::string marks_;  ///< of what was read last, whatever came of it
  std::uint64_t looked_ms_ = 0;
};

/// Thread: the loop's.
class TlsClient {
 public:
  /// Errors: config, with the file and what is wrong with it.
  [[nodiscard]] static Result<std::unique_ptr<TlsClient>> load(const TlsClientSettings& settings);
  /// Errors: internal.
  [[nodiscard]] Result<TlsSession> make_session() const;

 private:
  explicit TlsClient(TlsClientSettings settings) : settings_(std::move(settings)) {}

  TlsClientSettings settings_;
  std::unique_ptr<ssl_ctx_st, TlsFree> context_;
};

}  // namespace tap::net
