#include "services/net/framed_protocol.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "services/net/refusal.hpp"
#include "services/testing/string_transport.hpp"

using tap::net::FramedProtocol;
using tap::net::IntPrefixedProtocol;
using tap::net::NetstringProtocol;
using tap::net::PrefixBytes;
using tap::testing::StringTransport;

namespace {

class Netstrings final : public NetstringProtocol {
 public:
  using NetstringProtocol::NetstringProtocol;
  std::vector<std::string> strings;
  std::function<void()> after;

 private:
  void string_received(std::string_view string) override {
    strings.emplace_back(string);
    send_string("<" + std::string(string) + ">");
    if (after) after();
  }
};

class Prefixed final : public IntPrefixedProtocol {
 public:
  using IntPrefixedProtocol::IntPrefixedProtocol;
  using IntPrefixedProtocol::send_string;
  std::vector<std::string> strings;

 private:
  void string_received(std::string_view string) override {
    strings.emplace_back(string);
    CHECK(send_string(string).ok());
  }
};

template <class P>
struct Talk {
  StringTransport transport;
  P protocol;
  template <class... Args>
  explicit Talk(Args... args) : protocol(args...) {
    protocol.attach(transport);
  }
  /// What is left after the end of the connection is not delivered, as with a real transport.
  void deliver(std::string_view input, std::size_t step) {
    for (std::size_t at = 0; at < input.size() && !transport.ending(); at += step) {
      protocol.data_received(input.substr(at, step));
    }
  }
};

using Texts = std::vector<std::string>;

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += static_cast<char>(static_cast<unsigned char>(value));
  return out;
}

}  // namespace

TEST_CASE("netstrings: strings of any bytes come whole, however the input is cut") {
  const std::string binary = bytes({0, 1, '\n', ',', ':', 255});
  const std::string input = "5:hello,0:,6:" + binary + ",27:cummingsify.HERE IS MY POEM,";
  const Texts expected{"hello", "", binary, "cummingsify.HERE IS MY POEM"};
  for (std::size_t step = 1; step <= input.size(); ++step) {
    Talk<Netstrings> talk;
    talk.deliver(input, step);
    REQUIRE(talk.protocol.strings == expected);
    REQUIRE(talk.transport.take_written() == "7:<hello>,2:<>,8:<" + binary + ">,29:<cummingsify.HERE IS MY POEM>,");
    REQUIRE_FALSE(talk.transport.ending());
  }
}

TEST_CASE("netstrings: what is malformed ends the connection with one reason, however it is cut") {
  struct Case {
    const char* input;
    const char* reason;
  };
  const Case cases[] = {
      {":x,", "a netstring's length is not a number and a colon"},
      {"x", "a netstring's length is not a number and a colon"},
      {"-1:x,", "a netstring's length is not a number and a colon"},
      {"+1:x,", "a netstring's length is not a number and a colon"},
      {" 1:x,", "a netstring's length is not a number and a colon"},
      {"1 :x,", "a netstring's length is not a number and a colon"},
      {"1x:x,", "a netstring's length is not a number and a colon"},
      {"\n1:x,", "a netstring's length is not a number and a colon"},
      {"1:x;", "a netstring does not end in a comma"},
      {"1:xy,", "a netstring does not end in a comma"},
      {"0:x,", "a netstring does not end in a comma"},
      {"2:ab\n", "a netstring does not end in a comma"},
      {"01:x,", "a netstring's length begins with a zero"},
      {"00:,", "a netstring's length begins with a zero"},
      {"11:01234567890,", "a string is longer than 10 bytes"},
      {"18446744073709551617:x,", "a string is longer than 10 bytes"},
      {"99999999999999999999999999999", "a string is longer than 10 bytes"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.input);
    for (std::size_t step = 1; step <= std::string_view(one.input).size() + 2; ++step) {
      Talk<Netstrings> talk(std::size_t{10});
      talk.deliver(std::string("2:ok,") + one.input + "2:no,", step);
      REQUIRE(talk.transport.failure() == one.reason);
      REQUIRE(talk.protocol.strings == Texts{"ok"});
    }
  }
}

TEST_CASE("netstrings: the limit itself is taken, and the default is Twisted's") {
  Talk<Netstrings> talk;
  const std::string most(FramedProtocol::kStringBytesMax, 'x');
  talk.deliver("99999:" + most + ",", 1000);
  CHECK(talk.protocol.strings == Texts{most});
  talk.protocol.data_received("100000");
  CHECK(talk.transport.failure() == "a string is longer than 99999 bytes");
}

TEST_CASE("netstrings: while the peer does not read, whole strings wait, in order, and are owed") {
  Talk<Netstrings> talk;
  talk.protocol.after = [&] { talk.transport.set_congested(true); };
  talk.protocol.data_received("1:a,1:b,1:");
  CHECK(talk.protocol.strings == Texts{"a"});
  CHECK(talk.protocol.owes_answer());
  talk.protocol.data_received("c,");
  talk.protocol.end_received();
  CHECK_FALSE(talk.transport.lost());
  for (int i = 0; i < 2; ++i) {
    talk.transport.set_congested(false);
    talk.protocol.output_drained();
  }
  CHECK(talk.protocol.strings == Texts{"a", "b", "c"});
  CHECK(talk.transport.lost());
}

TEST_CASE("netstrings: the end of the stream ends the connection, and a part of a string is no request") {
  Talk<Netstrings> talk;
  talk.protocol.data_received("3:ab");
  CHECK_FALSE(talk.protocol.owes_answer());
  talk.protocol.end_received();
  CHECK(talk.transport.lost());
  CHECK(talk.protocol.strings.empty());
}

TEST_CASE("netstrings: lose_connection inside string_received stops the rest") {
  Talk<Netstrings> talk;
  talk.protocol.after = [&] { talk.transport.lose_connection(); };
  talk.protocol.data_received("1:a,1:b,");
  CHECK(talk.protocol.strings == Texts{"a"});
}

TEST_CASE("length prefixes: 8, 16 and 32 bits, however the input is cut") {
  const std::string input_8 = bytes({3}) + "abc" + bytes({0}) + bytes({2, 0, 255});
  const std::string input_16 = bytes({0, 3}) + "abc" + bytes({0, 0}) + bytes({0, 2, 0, 255});
  const std::string input_32 = bytes({0, 0, 0, 3}) + "abc" + bytes({0, 0, 0, 0}) + bytes({0, 0, 0, 2, 0, 255});
  const Texts expected{"abc", "", bytes({0, 255})};
  const std::pair<PrefixBytes, std::string> cases[] = {
      {PrefixBytes::one, input_8}, {PrefixBytes::two, input_16}, {PrefixBytes::four, input_32}};
  for (const auto& [prefix, input] : cases) {
    for (std::size_t step = 1; step <= input.size(); ++step) {
      Talk<Prefixed> talk(prefix);
      talk.deliver(input, step);
      REQUIRE(talk.protocol.strings == expected);
      REQUIRE(talk.transport.take_written() == input);
      REQUIRE_FALSE(talk.protocol.owes_answer());
    }
  }
}

TEST_CASE("length prefixes: a length above the limit ends the connection before its bytes come") {
  Talk<Prefixed> talk(PrefixBytes::four);
  talk.protocol.data_received(bytes({0, 1, 0x86, 0xA0}));
  CHECK(talk.transport.failure() == "a string is longer than 99999 bytes");
  Talk<Prefixed> most(PrefixBytes::four);
  most.protocol.data_received(bytes({255, 255, 255, 255}));
  CHECK(most.transport.failure() == "a string is longer than 99999 bytes");
}

TEST_CASE("length prefixes: a string that is too long for the prefix is not sent, and that is told") {
  Talk<Prefixed> talk(PrefixBytes::one);
  CHECK(talk.protocol.send_string(std::string(255, 'x')).ok());
  CHECK(talk.transport.take_written() == bytes({255}) + std::string(255, 'x'));
  const tap::Result<void> sent = talk.protocol.send_string(std::string(256, 'x'));
  REQUIRE_FALSE(sent.ok());
  CHECK(sent.error().message == "a string of 256 bytes does not fit behind a length of 8 bits");
  CHECK(talk.transport.take_written().empty());
  Talk<Prefixed> two(PrefixBytes::two);
  CHECK_FALSE(two.protocol.send_string(std::string(65'536, 'x')).ok());
  CHECK(two.protocol.send_string(std::string(65'535, 'x')).ok());
}

TEST_CASE("framed: a string has its deadline from its first byte to its last, and its memory is told") {
  Talk<Netstrings> talk;
  talk.deliver("100:" + std::string(50, 'x'), 54);
  CHECK(talk.transport.request_open());
  CHECK(talk.protocol.buffered_bytes() >= 54);
  talk.deliver(std::string(50, 'x') + ",", 51);
  CHECK_FALSE(talk.transport.request_open());
  CHECK(talk.protocol.buffered_bytes() == 0);
  talk.transport.set_congested(true);
  talk.deliver("1:a,", 4);  // whole: it waits for the peer to read
  CHECK_FALSE(talk.transport.request_open());
}
