// Keys and certificates from files into an SSL_CTX; for tls_context.cpp.
#pragma once

#include <openssl/ssl.h>

#include <string>

#include "state/base/result.hpp"

namespace tap::net {

/// What OpenSSL has to say of its last failure, in words; empties its queue.
[[nodiscard]] std::string openssl_reason();

/// The whole file. Errors: config: "cannot read FILE: ..."
[[nodiscard]] Result<std::string> read_pem(const std::string& path);

/// The certificate at the top of a file, and those behind it as its chain. Errors: config.
[[nodiscard]] Result<void> use_certificate(SSL_CTX* context, const std::string& path);
/// Every certificate of a file, behind ours. Errors: config.
[[nodiscard]] Result<void> add_chain(SSL_CTX* context, const std::string& path);
/// REQUIRES: use_certificate(). Errors: config: no key, an encrypted one, or one of another certificate.
[[nodiscard]] Result<void> use_private_key(SSL_CTX* context, const std::string& path, const std::string& certificate);
/// The roots that the peer's certificates must lead to; `as_server`: they are also what clients are asked for.
/// Errors: config.
[[nodiscard]] Result<void> trust(SSL_CTX* context, const std::string& path, bool as_server);

}  // namespace tap::net
