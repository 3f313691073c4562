#include "services/net/tls_context.hpp"

#include <doctest/doctest.h>

#include <cstdio>

#include "services/testing/recording_log.hpp"
#include "tests/services/net/tls_pair.hpp"
#include "tests/support/process.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

TlsServerSettings settings_of(const CertificateFiles& files) {
  TlsServerSettings settings;
  settings.private_key = files.key;
  settings.certificate = files.certificate;
  return settings;
}

std::string load_failure(const TlsServerSettings& settings) {
  const Result<std::unique_ptr<TlsServer>> loaded = TlsServer::load(settings);
  if (loaded.ok()) return "loaded";
  CHECK(loaded.error().fault == Fault::config);
  return loaded.error().message;
}

/// Whom a client of this server talks to now.
std::string subject(const TlsServer& server, const Certificates& authority) {
  Loop loop;
  TlsPair pair(loop);
  TlsClientSettings trust;
  trust.trust_roots = authority.root();
  trust.server_name = "localhost";
  const std::unique_ptr<TlsClient> client = std::move(TlsClient::load(trust)).value();
  pair.server.begin(std::move(server.make_session()).value());
  pair.client.begin(std::move(client->make_session()).value());
  pair.carry();
  return pair.client.transport == nullptr ? "nobody" : pair.client.transport->tls()->peer_subject;
}

}  // namespace

TEST_CASE("tls keys: what is missing or wrong is told with its file") {
  Certificates authority;
  const CertificateFiles one = authority.make("one");
  const CertificateFiles other = authority.make("other");
  TlsServerSettings settings = settings_of(one);
  settings.private_key = authority.directory / "none.key";
  CHECK(load_failure(settings) == "cannot read " + settings.private_key + ": No such file or directory");
  settings.private_key = authority.directory.path();
  CHECK(load_failure(settings) == "cannot read " + settings.private_key + ": Is a directory");
  settings.private_key = other.key;
  CHECK(load_failure(settings) ==
        other.key + ": this private key does not belong to the certificate of " + one.certificate);
  settings.private_key = one.certificate;
  CHECK(load_failure(settings) ==
        one.certificate + ": there is no private key in it (PEM, -----BEGIN PRIVATE KEY-----)");
  settings = settings_of(one);
  settings.certificate = one.key;
  CHECK(load_failure(settings) == one.key + ": there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)");
  settings.certificate = authority.directory / "cut.crt";
  write_text(settings.certificate, read_text(one.certificate).substr(0, 200));
  CHECK(load_failure(settings).find(settings.certificate + ": a certificate in it cannot be read") == 0);
  write_text(settings.certificate, std::string(TlsServer::kFileBytesMax + 1, 'x'));
  CHECK(load_failure(settings) == settings.certificate + ": it is larger than a key or a certificate can be");
}

TEST_CASE("tls keys: an encrypted key is refused, not asked a password for") {
  Certificates authority;
  const CertificateFiles one = authority.make("one");
  TlsServerSettings settings = settings_of(one);
  settings.private_key = authority.directory / "encrypted.key";
  const Ended made =
      run({"openssl", "ec", "-in", one.key, "-out", settings.private_key, "-aes128", "-passout", "pass:x"},
          authority.directory.path());
  REQUIRE_MESSAGE(made.code == 0, made.err);
  CHECK(load_failure(settings).find("is it encrypted?") != std::string::npos);
}

TEST_CASE("tls keys: chain, clients' roots and names are looked at too") {
  Certificates authority;
  const CertificateFiles one = authority.make("one");
  TlsServerSettings settings = settings_of(one);
  settings.extra_chain = authority.root();
  settings.client_ca = authority.root();
  settings.client_verify = TlsServerSettings::ClientVerify::require;
  CHECK(load_failure(settings) == "loaded");
  settings.extra_chain = one.key;
  CHECK(load_failure(settings).find(one.key + ": there is no certificate") == 0);
  settings.extra_chain.clear();
  settings.client_ca = one.key;
  CHECK(load_failure(settings).find(one.key + ": there is no certificate") == 0);
  settings.client_ca = authority.root();
  settings.sni_directory = authority.directory / "none";
  CHECK(load_failure(settings).find("cannot read the directory") == 0);
}

TEST_CASE("tls keys: changed files are in use within a second, and no sooner") {
  Certificates authority;
  const CertificateFiles files = authority.make("one");
  const std::unique_ptr<TlsServer> server = std::move(TlsServer::load(settings_of(files))).value();
  testing::RecordingLog log;
  std::uint64_t now = 1'000'000;
  server->refresh(now, log, "web");
  CHECK(subject(*server, authority) == "CN=one");
  const CertificateFiles next = authority.make("two");
  REQUIRE(std::rename(next.key.c_str(), files.key.c_str()) == 0);
  REQUIRE(std::rename(next.certificate.c_str(), files.certificate.c_str()) == 0);
  server->refresh(now + TlsServer::kLookEveryMs - 1, log, "web");
  CHECK(subject(*server, authority) == "CN=one");
  server->refresh(now + TlsServer::kLookEveryMs, log, "web");
  CHECK(subject(*server, authority) == "CN=two");
  CHECK(log.count("in use as it is now") == 1);
}

TEST_CASE("tls keys: a broken file leaves the old ones in use and is told once, until it changes again") {
  Certificates authority;
  const CertificateFiles files = authority.make("one");
  const std::unique_ptr<TlsServer> server = std::move(TlsServer::load(settings_of(files))).value();
  testing::RecordingLog log;
  std::uint64_t now = 1'000'000;
  const auto look = [&] { server->refresh(now += TlsServer::kLookEveryMs, log, "web"); };
  const CertificateFiles next = authority.make("two");
  REQUIRE(std::rename(next.key.c_str(), files.key.c_str()) == 0);  // the certificate has not come yet
  look();
  look();
  look();
  CHECK(log.count("the changed certificate or key is not used") == 1);
  CHECK(subject(*server, authority) == "CN=one");
  REQUIRE(std::remove(files.certificate.c_str()) == 0);
  look();
  look();
  CHECK(log.count("the changed certificate or key is not used") == 2);
  CHECK(subject(*server, authority) == "CN=one");
  REQUIRE(std::rename(next.certificate.c_str(), files.certificate.c_str()) == 0);
  look();
  CHECK(subject(*server, authority) == "CN=two");
}

TEST_CASE("tls keys: a new name's file is found while it runs") {
  Certificates authority;
  const TemporaryDirectory names;
  TlsServerSettings settings = settings_of(authority.make("one"));
  settings.sni_directory = names.path();
  const std::unique_ptr<TlsServer> server = std::move(TlsServer::load(settings)).value();
  testing::RecordingLog log;
  CHECK(subject(*server, authority) == "CN=one");
  write_text(names / "localhost.pem", read_text(authority.make("two").both));
  server->refresh(TlsServer::kLookEveryMs, log, "web");
  CHECK(subject(*server, authority) == "CN=two");
}

TEST_CASE("tls trust: what is wrong with a client's files is told, and who checks must know a name") {
  TlsClientSettings settings;
  settings.trust_roots = "/nonexistent/roots.pem";
  Result<std::unique_ptr<TlsClient>> loaded = TlsClient::load(settings);
  REQUIRE(!loaded.ok());
  CHECK(loaded.error().message == "cannot read /nonexistent/roots.pem: No such file or directory");
  settings.trust_roots.clear();
  Result<std::unique_ptr<TlsClient>> system = TlsClient::load(settings);
  REQUIRE(system.ok());
  CHECK(!(*system)->make_session().ok());
}
