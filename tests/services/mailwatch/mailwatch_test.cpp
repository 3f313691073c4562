// Waiting for a file on a virtual clock.
#include "services/mailwatch/mailwatch.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "services/mailwatch/mail_file.hpp"
#include "services/testing/transport_pair.hpp"
#include "tests/services/client.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using tap::testing::TransportPair;
using tap::tests::Loop;
using tap::tests::make_service;
using tap::tests::TemporaryDirectory;
using tap::tests::write_text;

namespace {

struct Watched {
  TemporaryDirectory directory;
  std::string path = directory / "mail";
  Loop loop;
  std::unique_ptr<Service> service;

  explicit Watched(const std::string& timeout = "0") {
    service = make_service(mailwatch_kind(), {{"path", path}, {"timeout", timeout}});
    REQUIRE(service->start(loop.reactor).ok());
  }
  ~Watched() {
    service->stop();
    loop.turn(3);
  }
  [[nodiscard]] std::unique_ptr<TransportPair> connect() const {
    return std::make_unique<TransportPair>(service->build_protocol());
  }
  [[nodiscard]] bool says(const std::string& part) const {
    return service->status()[0].find(part) != std::string::npos;
  }
  /// Until the file was looked for so often; time passes only for looks.
  void look_up_to(int looks) {
    REQUIRE(loop.turn_until([&] {
      if (says(", " + std::to_string(looks) + " looks")) return true;
      loop.clock.advance(50);
      return false;
    }));
    loop.turn(3);
  }
  [[nodiscard]] bool ended(TransportPair& client) {
    return loop.turn_until([&] {
      loop.clock.advance(50);
      return client.run() && client.peer().ended();
    });
  }
};

}  // namespace

TEST_CASE("mailwatch: whoever waits gets the lines when the file appears, whoever comes later gets them at once") {
  Watched mail;
  const auto first = mail.connect();
  const auto second = mail.connect();
  mail.look_up_to(3);
  CHECK(first->run());
  CHECK(first->peer().received().empty());
  write_text(mail.path, "From: me\n\nhello\n");
  CHECK(mail.ended(*first));
  CHECK(mail.ended(*second));
  CHECK(first->peer().received() == "From: me\n\nhello\n");
  CHECK(second->peer().received() == "From: me\n\nhello\n");
  const auto third = mail.connect();
  CHECK(mail.ended(*third));
  CHECK(third->peer().received() == "From: me\n\nhello\n");
  CHECK(mail.says("0 wait, 3 told, 0 timed out"));
}

TEST_CASE("mailwatch: an empty file, and one whose last line has no end yet, are waited for") {
  Watched mail;
  const auto client = mail.connect();
  write_text(mail.path, "");
  mail.look_up_to(2);
  CHECK(client->run());
  CHECK(client->peer().received().empty());
  write_text(mail.path, "hel");
  CHECK(mail.ended(*client));  // it has not changed between two looks
  CHECK(client->peer().received() == "hel\n");
}

TEST_CASE("mailwatch: after the timeout a client is told and ended, the others go on waiting") {
  Watched mail("5s");
  const auto client = mail.connect();
  mail.loop.clock.advance(4000);
  mail.loop.turn(2);
  const auto later = mail.connect();
  CHECK(client->run());
  CHECK(client->peer().received().empty());
  mail.loop.clock.advance(1000);
  mail.loop.turn(2);
  CHECK(client->run());
  CHECK(client->peer().received() == "error: no mail within 5s\n");
  CHECK(client->peer().ended());
  CHECK(later->run());
  CHECK_FALSE(later->peer().ended());
  write_text(mail.path, "x\n");
  CHECK(mail.ended(*later));
  CHECK(later->peer().received() == "x\n");
  CHECK(mail.says("1 told, 1 timed out"));
}

TEST_CASE("mailwatch: when the last client leaves nothing is looked for any more") {
  Watched mail("1h");
  {
    const auto client = mail.connect();
    mail.look_up_to(2);
  }
  CHECK(mail.loop.turn_until([&] {
    mail.loop.clock.advance(50);
    return mail.says("0 wait");
  }));
  const std::string before = mail.service->status()[0];
  mail.loop.clock.advance(100'000);
  mail.loop.turn(50);
  CHECK(mail.service->status()[0] == before);
}

TEST_CASE("mailwatch: a large mail goes out in pieces as the client takes them, and no faster") {
  Watched mail;
  std::string text;
  while (text.size() < kMailBytesMax - 200) text += "line " + std::to_string(text.size()) + "\n";
  write_text(mail.path, text);
  const auto client = mail.connect();
  client->stop_reading(TransportPair::Side::client);
  REQUIRE(mail.loop.turn_until([&] { return client->waiting(TransportPair::Side::server) != 0; }));
  CHECK(client->waiting(TransportPair::Side::server) < 70'000);
  client->stop_reading(TransportPair::Side::client, false);
  CHECK(mail.ended(*client));
  CHECK((client->peer().received() == text));
}

TEST_CASE("mailwatch: what is no mail is told to the client and the log") {
  Watched mail;
  std::filesystem::create_directory(mail.path);
  const auto client = mail.connect();
  CHECK(mail.ended(*client));
  CHECK(client->peer().received() == "error: the mail cannot be read\n");
  CHECK(mail.loop.log.count(mail.path + " is not a file") == 1);
  std::filesystem::remove(mail.path);
  REQUIRE(::mkfifo(mail.path.c_str(), 0600) == 0);
  CHECK(read_mail(mail.path).error().message == mail.path + " is not a file");
  std::filesystem::remove(mail.path);
  write_text(mail.path, std::string(kMailBytesMax + 1, 'x'));
  CHECK(read_mail(mail.path).error().message == mail.path + " is larger than 1MiB");
  write_text(mail.path, std::string(kMailBytesMax, 'x'));
  CHECK(read_mail(mail.path).ok());
}

TEST_CASE("mailwatch: a stop ends those who wait") {
  Watched mail;
  tests::StringClient client(*mail.service);
  client.protocol->service_stops();
  CHECK(client.transport.lost());
  CHECK_FALSE(client.protocol->owes_answer());
  CHECK(client.transport.take_written().empty());
}

TEST_CASE("mailwatch: options that are wrong are config errors") {
  CHECK(mailwatch_kind().check({}).error().message == "path is missing: the file that is waited for");
  CHECK(mailwatch_kind().check({{"path", "a"}, {"poll_every", "1ms"}}).error().message ==
        "poll_every: '1ms' is less than 10ms");
  CHECK(mailwatch_kind().check({{"path", "a"}, {"timeout", "0"}}).ok());
}
