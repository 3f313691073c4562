#include "services/net/tls_files.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "services/net/tls_context.hpp"
#include "state/base/fd.hpp"

namespace tap::net {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

Error wrong(const std::string& path, const std::string& why) { return Error{Fault::config, path + ": " + why}; }

Bio reader(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

/// Nobody is there to type one; without this OpenSSL would ask the terminal.
int no_password(char*, int, int, void*) { return -1; }

Result<std::vector<Certificate>> certificates_of(const std::string& path) {
  Result<std::string> pem = read_pem(path);
  if (!pem) return std::move(pem).error();
  const Bio bio = reader(*pem);
  std::vector<Certificate> all;
  ERR_clear_error();
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr)) all.emplace_back(next);
  const unsigned long end = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE;
  const std::string reason = openssl_reason();
  if (!at_end) return wrong(path, "a certificate in it cannot be read: " + reason);
  if (all.empty()) return wrong(path, "there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)");
  return all;
}

}  // namespace

std::string openssl_reason() {
  std::string text;
  while (const unsigned long code = ERR_get_error()) {
    const char* reason = ERR_reason_error_string(code);
    text = reason == nullptr ? "error " + std::to_string(ERR_GET_REASON(code)) : reason;
  }
  return text.empty() ? "for a reason that OpenSSL does not tell" : text;
}

Result<std::string> read_pem(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  std::string content(TlsServer::kFileBytesMax + 1, '\0');
  std::size_t size = 0;
  while (fd.open()) {
    const ssize_t got = ::read(fd.get(), content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(Fault::config, "cannot read " + path);
    size += static_cast<std::size_t>(got);
    if (size == content.size()) return wrong(path, "it is larger than a key or a certificate can be");
    if (got == 0) break;
  }
  if (!fd.open()) return errno_error(Fault::config, "cannot read " + path);
  content.resize(size);
  return content;
}

Result<void> use_certificate(SSL_CTX* context, const std::string& path) {
  Result<std::vector<Certificate>> all = certificates_of(path);
  if (!all) return std::move(all).error();
  ERR_clear_error();
  if (SSL_CTX_use_certificate(context, all->front().get()) != 1) {
    return wrong(path, "this certificate cannot be used: " + openssl_reason());
  }
  for (std::size_t i = 1; i < all->size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, (*all)[i].get()) != 1) return wrong(path, openssl_reason());
  }
  return {};
}

Result<void> add_chain(SSL_CTX* context, const std::string& path) {
  Result<std::vector<Certificate>> all = certificates_of(path);
  if (!all) return std::move(all).error();
  for (const Certificate& certificate : *all) {
    if (SSL_CTX_add1_chain_cert(context, certificate.get()) != 1) return wrong(path, openssl_reason());
  }
  return {};
}

Result<void> use_private_key(SSL_CTX* context, const std::string& path, const std::string& certificate) {
  Result<std::string> pem = read_pem(path);
  if (!pem) return std::move(pem).error();
  const Bio bio = reader(*pem);
  ERR_clear_error();
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  const bool is_there = pem->find("PRIVATE KEY-----") != std::string::npos;
  OPENSSL_cleanse(pem->data(), pem->size());
  if (key == nullptr) {
    const std::string reason = openssl_reason();
    return wrong(path, is_there ? "the private key in it cannot be read (is it encrypted?): " + reason
                                : "there is no private key in it (PEM, -----BEGIN PRIVATE KEY-----)");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    (void)openssl_reason();
    return wrong(path, "this private key does not belong to the certificate of " + certificate);
  }
  return {};
}

Result<void> trust(SSL_CTX* context, const std::string& path, bool as_server) {
  Result<std::vector<Certificate>> roots = certificates_of(path);
  if (!roots) return std::move(roots).error();
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const Certificate& root : *roots) {
    if (X509_STORE_add_cert(store, root.get()) != 1) return wrong(path, openssl_reason());
    if (as_server && SSL_CTX_add_client_CA(context, root.get()) != 1) return wrong(path, openssl_reason());
  }
  return {};
}

}  // namespace tap::net
