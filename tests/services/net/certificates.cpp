#include "tests/services/net/certificates.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "state/base/assert.hpp"

namespace tap::tests {
namespace {

constexpr long kHour = 3600;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

std::string text_of(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

std::string pem_of(X509* certificate) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  TAP_ASSERT(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return text_of(bio.get());
}

std::string pem_of(EVP_PKEY* key) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  TAP_ASSERT(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return text_of(bio.get());
}

void add_extension(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  TAP_ASSERT(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

/// Signed by `authority_key`; with no issuer it is its own.
Certificate sign(const std::string& name, EVP_PKEY* key, X509* issuer, EVP_PKEY* authority_key,
                 const CertificateWish& wish) {
  static long serial = 0;
  Certificate certificate(X509_new(), X509_free);
  X509* raw = certificate.get();
  TAP_ASSERT(X509_set_version(raw, 2) == 1);
  ASN1_INTEGER_set(X509_get_serialNumber(raw), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(raw), -2 * kHour);
  X509_gmtime_adj(X509_getm_notAfter(raw), wish.expired ? -kHour : 24 * kHour);
  X509_set_pubkey(raw, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(raw), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(raw, X509_get_subject_name(issuer == nullptr ? raw : issuer));
  add_extension(raw, NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  std::string names;
  for (const std::string& item : wish.names) names += (names.empty() ? "" : ",") + item;
  if (!names.empty()) add_extension(raw, NID_subject_alt_name, names);
  TAP_ASSERT(X509_sign(raw, authority_key, EVP_sha256()) > 0);
  return certificate;
}

}  // namespace

struct Certificates::Authority {
  Key key{EVP_EC_gen("P-256"), EVP_PKEY_free};
  Certificate certificate = sign("Test Root", key.get(), nullptr, key.get(), {{}, false});
};

Certificates::Certificates() : authority_(std::make_unique<Authority>()) {
  write_text(root(), pem_of(authority_->certificate.get()));
}

Certificates::~Certificates() = default;

CertificateFiles Certificates::make(const std::string& name, const CertificateWish& wish) {
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const Certificate certificate = sign(name, key.get(), authority_->certificate.get(), authority_->key.get(), wish);
  CertificateFiles files{directory / (name + ".crt"), directory / (name + ".key"), directory / (name + ".pem")};
  write_text(files.certificate, pem_of(certificate.get()));
  write_text(files.key, pem_of(key.get()));
  write_text(files.both, pem_of(key.get()) + pem_of(certificate.get()));
  return files;
}

}  // namespace tap::tests
