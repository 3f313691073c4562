#include "services/net/tls_layer.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

#include "services/net/refusal.hpp"
#include "tests/services/net/tls_pair.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// Both ends and what they believe in; the settings may be changed before meet().
struct Meeting {
  Loop loop;
  Certificates authority;
  CertificateFiles files = authority.make("localhost");
  TlsServerSettings server_settings;
  TlsClientSettings client_settings;
  std::unique_ptr<TlsServer> keys;
  std::unique_ptr<TlsClient> trust;
  TlsPair pair{loop};
  std::string client_failure;
  int settled = 0;

  Meeting() {
    server_settings.private_key = files.key;
    server_settings.certificate = files.certificate;
    client_settings.trust_roots = authority.root();
    client_settings.server_name = "localhost";
  }
  void begin() {
    keys = std::move(TlsServer::load(server_settings)).value();
    trust = std::move(TlsClient::load(client_settings)).value();
    pair.server.begin(std::move(keys->make_session()).value());
    pair.client.begin(std::move(trust->make_session()).value(), [this](Result<Protocol*> result) {
      ++settled;
      if (!result) client_failure = result.error().message;
    });
  }
  /// The handshake, as far as it gets.
  void meet(std::size_t piece = 1 << 20) {
    begin();
    pair.carry(piece);
  }
  [[nodiscard]] bool met() const { return pair.server.transport != nullptr && pair.client.transport != nullptr; }
};

}  // namespace

TEST_CASE("tls: bytes go both ways however the records are cut, and the end is told") {
  Meeting meeting;
  const std::string text = numbered_bytes(40'000);  // more than two records
  for (const std::size_t piece :
       {1U, 2U, 3U, 5U, 7U, 16U, 64U, 100U, 500U, 1'000U, 4'096U, 16'384U, 16'385U, 1'000'000U}) {
    CAPTURE(piece);
    Meeting one;
    one.meet(piece);
    REQUIRE(one.met());
    CHECK(one.settled == 1);
    CHECK(one.client_failure.empty());
    one.pair.client.transport->write(text);
    one.pair.server.transport->write("short");
    one.pair.carry(piece);
    CHECK(one.pair.server.received == text);
    CHECK(one.pair.client.received == "short");
    one.pair.client.transport->lose_connection();
    one.pair.carry(piece);
    CHECK(one.pair.client.below.lost());
    CHECK(one.pair.server.ended);
    CHECK(one.pair.server.below.lost());
  }
}

TEST_CASE("tls: a handshake cut into two at every place is the same handshake") {
  std::size_t size = 0;
  {
    Meeting whole;
    whole.begin();
    size = whole.pair.client.below.take_written().size();
  }
  REQUIRE(size > 100);
  Meeting meeting;
  meeting.keys = std::move(TlsServer::load(meeting.server_settings)).value();
  meeting.trust = std::move(TlsClient::load(meeting.client_settings)).value();
  for (std::size_t cut = 1; cut < size; ++cut) {
    TlsPair pair(meeting.loop);
    pair.server.begin(std::move(meeting.keys->make_session()).value());
    pair.client.begin(std::move(meeting.trust->make_session()).value());
    const std::string hello = pair.client.below.take_written();
    pair.server.layer->data_received(std::string_view(hello).substr(0, cut));
    pair.server.layer->data_received(std::string_view(hello).substr(cut));
    pair.carry();
    const bool met = pair.server.transport != nullptr && pair.client.transport != nullptr;
    REQUIRE_MESSAGE(met, "cut at " << cut);
  }
}

TEST_CASE("tls: what is known of the connection can be asked") {
  Meeting meeting;
  meeting.server_settings.alpn = {"h2", "http/1.1"};
  meeting.client_settings.alpn = {"http/1.1"};
  meeting.meet();
  REQUIRE(meeting.met());
  const TlsInfo* info = meeting.pair.server.transport->tls();
  REQUIRE(info != nullptr);
  CHECK(info->version == "TLSv1.3");
  CHECK(!info->cipher.empty());
  CHECK(info->alpn == "http/1.1");
  CHECK(info->server_name == "localhost");
  CHECK(info->peer_subject.empty());
  CHECK(!info->resumed);
  CHECK(meeting.pair.client.transport->tls()->peer_subject == "CN=localhost");
}

TEST_CASE("tls: without a common ALPN name there is no connection") {
  Meeting meeting;
  meeting.server_settings.alpn = {"h2"};
  meeting.client_settings.alpn = {"http/1.1"};
  meeting.meet();
  CHECK(!meeting.met());
  CHECK(meeting.client_failure.find("no application protocol") != std::string::npos);
}

TEST_CASE("tls: the small pieces of one call leave in one record, a large one in full records") {
  Meeting meeting;
  meeting.pair.server.on_data = [](Transport& transport, std::string_view) {
    for (int i = 0; i < 100; ++i) transport.write("0123456789");
  };
  meeting.meet();
  REQUIRE(meeting.met());
  meeting.pair.client.transport->write("go");
  TlsPair::feed(*meeting.pair.server.layer, meeting.pair.client.below.take_written(), 1 << 20);
  const std::string answer = meeting.pair.server.below.take_written();
  CHECK(answer.size() < 1'000 + 50);
  TlsPair::feed(*meeting.pair.client.layer, answer, 1 << 20);
  CHECK(meeting.pair.client.received.size() == 1'000);
}

TEST_CASE("tls: a peer that ends without close_notify has not ended: the connection is lost") {
  Meeting meeting;
  meeting.meet();
  REQUIRE(meeting.met());
  meeting.pair.server.layer->end_received();
  CHECK(!meeting.pair.server.ended);
  CHECK(meeting.pair.server.below.lost());
  meeting.pair.server.layer->connection_lost(Error{Fault::unavailable, "below"});
  CHECK(meeting.pair.server.lost.find("cut off") != std::string::npos);
}

TEST_CASE("tls: after the peer's close_notify its end of stream is no news, and we may go on sending") {
  Meeting meeting;
  meeting.pair.server.lose_at_end = false;
  meeting.meet();
  REQUIRE(meeting.met());
  meeting.pair.client.transport->write("question");
  meeting.pair.client.transport->lose_write_connection();
  meeting.pair.client.transport->write("too late");
  meeting.pair.carry();
  CHECK(meeting.pair.client.below.half_closed());
  CHECK(!meeting.pair.client.below.lost());
  CHECK(meeting.pair.server.received == "question");
  CHECK(meeting.pair.server.ended);
  meeting.pair.server.layer->end_received();
  CHECK(!meeting.pair.server.below.ending());
  meeting.pair.server.transport->write("answer");
  meeting.pair.server.transport->lose_connection();
  meeting.pair.carry();
  CHECK(meeting.pair.client.received == "answer");
  CHECK(meeting.pair.client.ended);
  CHECK(meeting.pair.client.below.lost());
}

TEST_CASE("tls: bytes that are no TLS end the connection, with an alert and one line in the log") {
  Meeting meeting;
  meeting.begin();
  meeting.pair.server.layer->data_received("GET / HTTP/1.0\r\n\r\n");
  meeting.pair.server.layer->data_received("more of it");
  CHECK(meeting.pair.server.below.lost());
  CHECK(meeting.pair.server.transport == nullptr);
  CHECK(meeting.loop.log.count("the TLS handshake failed") == 1);
}

TEST_CASE("tls: a record that was changed on its way ends the connection") {
  Meeting meeting;
  meeting.meet();
  REQUIRE(meeting.met());
  meeting.pair.client.transport->write("0123456789");
  std::string record = meeting.pair.client.below.take_written();
  record[record.size() / 2] = static_cast<char>(record[record.size() / 2] ^ 1);
  meeting.pair.server.layer->data_received(record);
  CHECK(meeting.pair.server.received.empty());
  CHECK(!meeting.pair.server.ended);
  CHECK(meeting.pair.server.below.lost());
  CHECK(meeting.loop.log.count("TLS: ") == 1);
}

TEST_CASE("tls: a handshake that does not end is ended") {
  Meeting meeting;
  meeting.begin();
  meeting.loop.clock.advance(TlsLayer::kHandshakeWithinMs - 1);
  meeting.loop.turn(2);
  CHECK(meeting.pair.server.below.failure().empty());
  meeting.loop.clock.advance(1);
  meeting.loop.turn(2);
  CHECK(meeting.pair.server.below.failure().find("handshake took longer") != std::string::npos);
}

TEST_CASE("tls: the deadline of the handshake is not the connection's") {
  Meeting meeting;
  meeting.meet();
  meeting.loop.clock.advance(TlsLayer::kHandshakeWithinMs * 2);
  meeting.loop.turn(2);
  CHECK(!meeting.pair.server.below.ending());
}

TEST_CASE("tls: a protocol that does not read yet gets nothing, and everything when it reads") {
  Meeting meeting;
  meeting.pair.server.on_made = [](Transport& transport) { transport.pause_reading(); };
  meeting.pair.client.on_made = [](Transport& transport) { transport.write("with the last step of the handshake"); };
  meeting.meet();
  REQUIRE(meeting.met());
  CHECK(!meeting.pair.server.below.reading());
  CHECK(meeting.pair.server.received.empty());
  meeting.pair.server.transport->resume_reading();
  CHECK(meeting.pair.server.received.empty());  // never from inside the call
  meeting.loop.turn();
  CHECK(meeting.pair.server.received == "with the last step of the handshake");
  CHECK(meeting.pair.server.below.reading());
}

TEST_CASE("tls: reading may pause between the records of one read, and the end waits its turn") {
  Meeting meeting;
  meeting.pair.server.on_data = [](Transport& transport, std::string_view) { transport.pause_reading(); };
  meeting.meet();
  REQUIRE(meeting.met());
  meeting.pair.client.transport->write("one");
  meeting.pair.client.transport->write("two");
  meeting.pair.client.transport->lose_connection();
  meeting.pair.carry();
  CHECK(meeting.pair.server.received == "one");
  CHECK(!meeting.pair.server.ended);
  meeting.pair.server.transport->resume_reading();
  meeting.loop.turn();
  CHECK(meeting.pair.server.received == "onetwo");
  CHECK(!meeting.pair.server.ended);
  meeting.pair.server.transport->resume_reading();
  meeting.loop.turn();
  CHECK(meeting.pair.server.ended);
}

TEST_CASE("tls: what the protocol throws ends its connection; a refusal ends it in order") {
  Meeting thrown;
  thrown.pair.server.on_data = [](Transport&, std::string_view) { throw std::runtime_error("no"); };
  thrown.meet();
  thrown.pair.client.transport->write("x");
  thrown.pair.carry();
  CHECK(thrown.pair.server.below.failure() == "the protocol threw: no");
  Meeting refused;
  refused.pair.server.on_data = [](Transport& transport, std::string_view) {
    transport.write("before");
    throw Refusal("full");
  };
  refused.meet();
  refused.pair.client.transport->write("x");
  refused.pair.carry();
  CHECK(refused.pair.server.below.lost());
  CHECK(refused.pair.client.received == "before");
  CHECK(refused.pair.client.ended);
}

TEST_CASE("tls: a stop ends with close_notify") {
  Meeting meeting;
  meeting.meet();
  meeting.pair.server.layer->before_stop();
  CHECK(meeting.pair.server.below.lost());
  meeting.pair.carry();
  CHECK(meeting.pair.client.ended);
}

TEST_CASE("tls: a client believes neither strangers, nor other names, nor the past") {
  Meeting stranger;
  const Certificates other;
  stranger.client_settings.trust_roots = other.root();
  stranger.meet();
  CHECK(!stranger.met());
  CHECK(stranger.settled == 1);
  CHECK(stranger.client_failure.find("certificate verify failed") != std::string::npos);

  Meeting elsewhere;
  elsewhere.client_settings.server_name = "example.org";
  elsewhere.meet();
  CHECK(elsewhere.client_failure.find("hostname mismatch") != std::string::npos);

  Meeting address;
  address.client_settings.server_name = "127.0.0.1";
  address.meet();
  CHECK(address.client_failure.empty());
  CHECK(address.met());

  Meeting other_address;
  other_address.client_settings.server_name = "127.0.0.2";
  other_address.meet();
  CHECK(other_address.client_failure.find("IP address mismatch") != std::string::npos);

  Meeting past;
  past.files = past.authority.make("old", {{"DNS:localhost"}, true});
  past.server_settings.private_key = past.files.both;
  past.server_settings.certificate = past.files.both;
  past.meet();
  CHECK(past.client_failure.find("expired") != std::string::npos);

  Meeting unconcerned;
  unconcerned.client_settings.trust_roots = other.root();
  unconcerned.client_settings.server_name = "example.org";
  unconcerned.client_settings.verify = false;
  unconcerned.meet();
  CHECK(unconcerned.met());
}

TEST_CASE("tls: a server that wants certificates takes those of its authority, and no others") {
  Meeting known;
  const CertificateFiles me = known.authority.make("me", {{}, false});
  known.server_settings.client_ca = known.authority.root();
  known.server_settings.client_verify = TlsServerSettings::ClientVerify::require;
  known.client_settings.certificate = me.certificate;
  known.client_settings.private_key = me.key;
  known.meet();
  REQUIRE(known.met());
  CHECK(known.pair.server.transport->tls()->peer_subject == "CN=me");

  Meeting nobody;
  nobody.server_settings.client_ca = nobody.authority.root();
  nobody.server_settings.client_verify = TlsServerSettings::ClientVerify::require;
  nobody.meet();
  CHECK(nobody.pair.server.transport == nullptr);
  CHECK(nobody.loop.log.count("peer did not return a certificate") == 1);

  Meeting stranger;
  Certificates other;
  const CertificateFiles foreign = other.make("stranger", {{}, false});
  stranger.server_settings.client_ca = stranger.authority.root();
  stranger.server_settings.client_verify = TlsServerSettings::ClientVerify::optional;
  stranger.client_settings.certificate = foreign.both;
  stranger.meet();
  CHECK(stranger.pair.server.transport == nullptr);

  Meeting optional;
  optional.server_settings.client_ca = optional.authority.root();
  optional.server_settings.client_verify = TlsServerSettings::ClientVerify::optional;
  optional.meet();
  REQUIRE(optional.met());
  CHECK(optional.pair.server.transport->tls()->peer_subject.empty());
}

TEST_CASE("tls: each name gets its own certificate, others the default one") {
  Certificates authority;
  const CertificateFiles main = authority.make("main");
  const TemporaryDirectory names;
  write_text(names / "one.example.pem", read_text(authority.make("one.example", {{"DNS:one.example"}, false}).both));
  write_text(names / "_.many.example.pem", read_text(authority.make("many", {{"DNS:*.many.example"}, false}).both));
  write_text(names / "notes.txt", "no certificate");
  const auto subject_for = [&](const std::string& name) {
    Meeting meeting;
    meeting.server_settings = {main.key, main.certificate, "", "", {}, {"h2"}, names.path()};
    meeting.client_settings.trust_roots = authority.root();
    meeting.client_settings.server_name = name;
    meeting.client_settings.alpn = {"h2"};
    meeting.meet();
    if (!meeting.met()) return meeting.client_failure;
    CHECK(meeting.pair.server.transport->tls()->alpn == "h2");
    return meeting.pair.client.transport->tls()->peer_subject;
  };
  CHECK(subject_for("one.example") == "CN=one.example");
  CHECK(subject_for("ONE.Example") == "CN=one.example");
  CHECK(subject_for("a.many.example") == "CN=many");
  CHECK(subject_for("localhost") == "CN=main");
  CHECK(subject_for("b.a.many.example").find("mismatch") != std::string::npos);
}
