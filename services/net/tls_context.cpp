#include "services/net/tls_context.hpp"

#include <arpa/inet.h>
#include <dirent.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "services/net/tls_files.hpp"

namespace tap::net {

void TlsFree::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
void TlsFree::operator()(ssl_st* session) const { SSL_free(session); }

namespace {

using Context = std::unique_ptr<ssl_ctx_st, TlsFree>;

constexpr std::string_view kPemEnd = ".pem";

Error no_session() { return Error{Fault::internal, "making a TLS session: " + openssl_reason()}; }

std::string wire_form(const std::vector<std::string>& names) {
  std::string wire;
  for (const std::string& name : names) wire += static_cast<char>(name.size()) + name;
  return wire;
}

Result<Context> make_context(const SSL_METHOD* method) {
  ERR_clear_error();
  Context context(SSL_CTX_new(method));
  if (context == nullptr || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1) return no_session();
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // An idle connection keeps no buffers.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  return context;
}

Result<void> set_client_verification(SSL_CTX* context, const TlsServerSettings& settings) {
  using Verify = TlsServerSettings::ClientVerify;
  if (settings.client_verify == Verify::none) return {};
  const int require = settings.client_verify == Verify::require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | require, nullptr);
  return trust(context, settings.client_ca, true);
}

Result<Context> server_context(const std::string& certificate, const std::string& chain, const std::string& key) {
  Result<Context> context = make_context(TLS_server_method());
  if (!context) return context;
  // Tickets hold the session; a cache here would grow with the number of clients.
  SSL_CTX_set_session_cache_mode(context->get(), SSL_SESS_CACHE_OFF);
  static constexpr std::array<unsigned char, 4> kSessionContext{'t', 'a', 'p', 'd'};
  SSL_CTX_set_session_id_context(context->get(), kSessionContext.data(), kSessionContext.size());
  if (Result<void> used = use_certificate(context->get(), certificate); !used) return std::move(used).error();
  if (!chain.empty()) {
    if (Result<void> added = add_chain(context->get(), chain); !added) return std::move(added).error();
  }
  if (Result<void> used = use_private_key(context->get(), key, certificate); !used) return std::move(used).error();
  return context;
}

int choose_alpn(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                unsigned offered_size, void* keys) {
  const std::string& ours = static_cast<const TlsKeys*>(keys)->alpn;
  unsigned char* found = nullptr;
  const int result = SSL_select_next_proto(&found, size, reinterpret_cast<const unsigned char*>(ours.data()),
                                           static_cast<unsigned>(ours.size()), offered, offered_size);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;  // RFC 7301, 3.2
}

int choose_name(SSL* ssl, int*, void* given) {
  const auto& named = static_cast<const TlsKeys*>(given)->named;
  const char* asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (asked == nullptr) return SSL_TLSEXT_ERR_OK;
  std::string name = asked;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  auto found = named.find(name);
  if (found == named.end()) found = named.find("_" + name.substr(std::min(name.find('.'), name.size())));
  if (found != named.end()) SSL_set_SSL_CTX(ssl, found->second.get());
  return SSL_TLSEXT_ERR_OK;
}

/// The NAME.pem files of a directory, sorted. Errors: config.
Result<std::vector<std::string>> names_in(const std::string& directory) {
  std::vector<std::string> names;
  DIR* open = ::opendir(directory.c_str());
  if (open == nullptr) return errno_error(Fault::config, "cannot read the directory " + directory);
  while (const dirent* entry = ::readdir(open)) {
    const std::string_view name = entry->d_name;
    if (name.size() <= kPemEnd.size() || name.front() == '.' || !name.ends_with(kPemEnd)) continue;
    names.emplace_back(name.substr(0, name.size() - kPemEnd.size()));
  }
  ::closedir(open);
  if (names.size() > TlsServer::kNamesMax) {
    return Error{Fault::config,
                 directory + ": it has more than " + std::to_string(TlsServer::kNamesMax) + " certificates"};
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string pem_of(const std::string& directory, const std::string& name) {
  return directory + "/" + name + std::string(kPemEnd);
}

std::string mark_of(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return path + " missing\n";
  return path + " " + std::to_string(found.st_dev) + " " + std::to_string(found.st_ino) + " " +
         std::to_string(found.st_size) + " " + std::to_string(found.st_mtim.tv_sec) + "." +
         std::to_string(found.st_mtim.tv_nsec) + "\n";
}

}  // namespace

// --- server -----------------------------------------------------------------------------------------------------

namespace {

/// What all names of an endpoint have in common: OpenSSL asks the context that SNI has chosen for it.
Result<void> set_common(SSL_CTX* context, const TlsServerSettings& settings, TlsKeys& keys) {
  if (!keys.alpn.empty()) SSL_CTX_set_alpn_select_cb(context, choose_alpn, &keys);
  return set_client_verification(context, settings);
}

}  // namespace

Result<std::shared_ptr<const TlsKeys>> TlsServer::read(const TlsServerSettings& settings) {
  auto keys = std::make_shared<TlsKeys>();
  keys->alpn = wire_form(settings.alpn);
  Result<Context> context = server_context(settings.certificate, settings.extra_chain, settings.private_key);
  if (!context) return std::move(context).error();
  keys->context = std::move(context).value();
  if (Result<void> set = set_common(keys->context.get(), settings, *keys); !set) return std::move(set).error();
  if (settings.sni_directory.empty()) return std::shared_ptr<const TlsKeys>(std::move(keys));
  Result<std::vector<std::string>> names = names_in(settings.sni_directory);
  if (!names) return std::move(names).error();
  for (const std::string& name : *names) {
    const std::string file = pem_of(settings.sni_directory, name);
    Result<Context> named = server_context(file, "", file);
    if (!named) return std::move(named).error();
    if (Result<void> set = set_common(named->get(), settings, *keys); !set) return std::move(set).error();
    keys->named.emplace(name, std::move(named).value());
  }
  SSL_CTX_set_tlsext_servername_callback(keys->context.get(), choose_name);
  SSL_CTX_set_tlsext_servername_arg(keys->context.get(), keys.get());
  return std::shared_ptr<const TlsKeys>(std::move(keys));
}

Result<std::unique_ptr<TlsServer>> TlsServer::load(const TlsServerSettings& settings) {
  std::unique_ptr<TlsServer> server(new TlsServer(settings));
  server->marks_ = server->marks();  // before reading: what changes meanwhile is seen at the next look
  Result<std::shared_ptr<const TlsKeys>> keys = read(settings);
  if (!keys) return std::move(keys).error();
  server->keys_ = std::move(keys).value();
  return server;
}

/// What tells whether the files are still the same: one line each.
std::string TlsServer::marks() const {
  std::string all;
  for (const std::string* path :
       {&settings_.private_key, &settings_.certificate, &settings_.extra_chain, &settings_.client_ca}) {
    if (!path->empty()) all += mark_of(*path);
  }
  if (settings_.sni_directory.empty()) return all;
  Result<std::vector<std::string>> names = names_in(settings_.sni_directory);
  if (!names) return all + names.error().message + "\n";
  for (const std::string& name : *names) all += mark_of(pem_of(settings_.sni_directory, name));
  return all;
}

void TlsServer::refresh(std::uint64_t now_ms, LogSink& log, std::string_view who) {
  if (now_ms < looked_ms_ + kLookEveryMs) return;
  looked_ms_ = now_ms;
  std::string now = marks();
  if (now == marks_) return;
  marks_ = std::move(now);
  Result<std::shared_ptr<const TlsKeys>> keys = read(settings_);
  if (keys) {
    keys_ = std::move(keys).value();
    log.write(LogLevel::info, who,
              "the certificate in " + settings_.certificate + " is in use as it is now in the file");
  } else {
    log.write(LogLevel::error, who,
              "the changed certificate or key is not used, the one from before is: " + keys.error().message);
  }
}

Result<TlsSession> TlsServer::make_session() const {
  ERR_clear_error();
  TlsSession session{keys_, std::unique_ptr<ssl_st, TlsFree>(SSL_new(keys_->context.get()))};
  if (session.ssl == nullptr) return no_session();
  SSL_set_accept_state(session.ssl.get());
  return session;
}

// --- client -----------------------------------------------------------------------------------------------------

Result<std::unique_ptr<TlsClient>> TlsClient::load(const TlsClientSettings& settings) {
  std::unique_ptr<TlsClient> client(new TlsClient(settings));
  Result<Context> context = make_context(TLS_client_method());
  if (!context) return std::move(context).error();
  client->context_ = std::move(context).value();
  SSL_CTX* raw = client->context_.get();
  SSL_CTX_set_verify(raw, settings.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (!settings.trust_roots.empty()) {
    if (Result<void> trusted = trust(raw, settings.trust_roots, false); !trusted) return std::move(trusted).error();
  } else if (settings.verify && SSL_CTX_set_default_verify_paths(raw) != 1) {
    return Error{Fault::config, "the system's roots cannot be read: " + openssl_reason()};
  }
  if (!settings.certificate.empty()) {
    const std::string& key = settings.private_key.empty() ? settings.certificate : settings.private_key;
    if (Result<void> used = use_certificate(raw, settings.certificate); !used) return std::move(used).error();
    if (Result<void> used = use_private_key(raw, key, settings.certificate); !used) return std::move(used).error();
  }
  if (!settings.alpn.empty()) {
    const std::string wire = wire_form(settings.alpn);
    SSL_CTX_set_alpn_protos(raw, reinterpret_cast<const unsigned char*>(wire.data()),
                            static_cast<unsigned>(wire.size()));
  }
  return client;
}

Result<TlsSession> TlsClient::make_session() const {
  ERR_clear_error();
  TlsSession session{nullptr, std::unique_ptr<ssl_st, TlsFree>(SSL_new(context_.get()))};
  SSL* ssl = session.ssl.get();
  if (ssl == nullptr) return no_session();
  SSL_set_connect_state(ssl);
  const std::string& name = settings_.server_name;
  std::array<unsigned char, sizeof(in6_addr)> raw{};
  const bool numeric =
      ::inet_pton(AF_INET, name.c_str(), raw.data()) == 1 || ::inet_pton(AF_INET6, name.c_str(), raw.data()) == 1;
  if (!numeric && !name.empty() && SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) return no_session();
  if (!settings_.verify) return session;
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const bool set = numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1
                           : !name.empty() && SSL_set1_host(ssl, name.c_str()) == 1;
  if (!set) return Error{Fault::config, "there is no server name to check the certificate against"};
  return session;
}

}  // namespace tap::net
