// Certificates: a certificate authority of a test's own, made when the test runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/temporary_directory.hpp"

namespace tap::tests {

/// What a certificate is for. `names`: "DNS:example.org", "IP:127.0.0.1".
struct CertificateWish {
  std::vector<std::string> names = {"DNS:localhost", "IP:127.0.0.1"};
  bool expired = false;
};

/// The files of one certificate.
struct CertificateFiles {
  std::string certificate;
  std::string key;
  std::string both;  ///< NAME.pem: key, then certificate
};

class Certificates {
 public:
  Certificates();
  ~Certificates();

  /// A certificate signed by this authority, in NAME.crt, NAME.key and NAME.pem; files of that name are overwritten.
  CertificateFiles make(const std::string& name, const CertificateWish& wish = {});
  /// The authority's own certificate, as a file.
  [[nodiscard]] std::string root() const { return directory / "root.crt"; }

  TemporaryDirectory directory;

 private:
  struct Authority;
  std::unique_ptr<Authority> authority_;
};

}  // namespace tap::tests
