#include "services/net/line_protocol.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "services/net/refusal.hpp"
#include "services/testing/string_transport.hpp"

using tap::net::LineProtocol;
using tap::testing::StringTransport;

namespace {

/// Answers each line with "<line>" and keeps it.
class Bracketing final : public LineProtocol {
 public:
  using LineProtocol::send_line;
  std::vector<std::string> lines;
  std::function<void(tap::net::Transport&)> after_line;

 private:
  void line_received(std::string_view line) override {
    lines.emplace_back(line);
    send_line("<" + std::string(line) + ">");
    if (after_line) after_line(transport());
  }
};

struct Conversation {
  StringTransport transport;
  Bracketing protocol;
  Conversation() { protocol.attach(transport); }
};

constexpr std::size_t kMax = LineProtocol::kLineBytesMax;

}  // namespace

TEST_CASE("line protocol: lines end in a newline, and a carriage return before it is dropped") {
  Conversation talk;
  talk.protocol.data_received("one\ntwo\r\n\n\r\na\rb\nc\r\r\n");
  CHECK(talk.protocol.lines == std::vector<std::string>{"one", "two", "", "", "a\rb", "c\r"});
  CHECK(talk.transport.take_written() == "<one>\n<two>\n<>\n<>\n<a\rb>\n<c\r>\n");
}

TEST_CASE("line protocol: bytes of any value pass through, NUL too") {
  Conversation talk;
  std::string line;
  for (int value = 0; value < 256; ++value) {
    if (value != '\n') line += static_cast<char>(value);
  }
  talk.protocol.data_received(line + "\n");
  REQUIRE(talk.protocol.lines.size() == 1);
  CHECK(talk.protocol.lines[0] == line);
}

TEST_CASE("line protocol: a line without its end waits") {
  Conversation talk;
  talk.protocol.data_received("hel");
  talk.protocol.data_received("lo");
  CHECK(talk.protocol.lines.empty());
  CHECK(!talk.protocol.owes_answer());
  talk.protocol.data_received("\nnext");
  CHECK(talk.protocol.lines == std::vector<std::string>{"hello"});
}

TEST_CASE("line protocol: every way of cutting the input into pieces gives the same answers") {
  const std::string input = "ab\r\n\nc\r\nde\nf";
  const std::size_t cuts = input.size() - 1;
  Conversation whole;
  whole.protocol.data_received(input);
  const std::string answers = whole.transport.take_written();
  REQUIRE(answers == "<ab>\n<>\n<c>\n<de>\n");
  int different = 0;
  for (unsigned mask = 0; mask < (1U << cuts); ++mask) {
    Conversation talk;
    std::string piece;
    for (std::size_t i = 0; i < input.size(); ++i) {
      piece += input[i];
      const bool cut = i == cuts || ((mask >> i) & 1U) != 0;
      if (!cut) continue;
      talk.protocol.data_received(piece);
      piece.clear();
    }
    if (talk.transport.take_written() != answers) ++different;
  }
  CHECK(different == 0);
}

TEST_CASE("line protocol: a line of exactly the limit is taken, with one byte more it is too long") {
  for (const std::size_t step : {std::size_t{1}, std::size_t{1000}, std::size_t{100'000}}) {
    for (const std::size_t size : {kMax, kMax + 1}) {
      CAPTURE(step);
      CAPTURE(size);
      Conversation talk;
      const std::string input = std::string(size, 'x') + "\n";
      for (std::size_t at = 0; at < input.size() && !talk.transport.ending(); at += step) {
        talk.protocol.data_received(std::string_view(input).substr(at, step));
      }
      CHECK(talk.transport.aborted() == (size > kMax));
      CHECK(talk.protocol.lines.size() == (size > kMax ? 0U : 1U));
    }
  }
}

TEST_CASE("line protocol: a line that never ends is too long before its end comes") {
  Conversation talk;
  talk.protocol.data_received(std::string(kMax, 'x'));
  CHECK(!talk.transport.aborted());
  talk.protocol.data_received("x");
  CHECK(talk.transport.aborted());
  CHECK(talk.transport.failure() == "a line is longer than 16384 bytes");
}

TEST_CASE("line protocol: a line that is too long does not undo the answers to those before it") {
  Conversation talk;
  talk.protocol.data_received("good\n" + std::string(kMax + 1, 'x') + "\nnever\n");
  CHECK(talk.protocol.lines == std::vector<std::string>{"good"});
  CHECK(talk.transport.aborted());
}

TEST_CASE("line protocol: many lines together may be longer than one may be") {
  Conversation talk;
  std::string input;
  for (int i = 0; i < 10; ++i) input += std::string(kMax, 'x') + "\n";
  talk.protocol.data_received(input);
  CHECK(talk.protocol.lines.size() == 10);
  CHECK(!talk.transport.aborted());
}

TEST_CASE("line protocol: a protocol may answer a line that is too long in its own way") {
  class Patient final : public LineProtocol {
   public:
    std::vector<std::string> lines;

   private:
    void line_received(std::string_view line) override { lines.emplace_back(line); }
    void line_too_long() override {
      transport().write("ERR too long\n");
      transport().lose_connection();
    }
  } protocol;
  StringTransport transport;
  protocol.attach(transport);
  protocol.data_received(std::string(kMax + 1, 'x') + "\nnext\n");
  CHECK(transport.take_written() == "ERR too long\n");
  CHECK(transport.lost());
  CHECK(!transport.aborted());
  CHECK(protocol.lines.empty());
}

TEST_CASE("line protocol: congestion in the middle of a batch leaves the rest waiting, in order") {
  Conversation talk;
  talk.protocol.after_line = [&](tap::net::Transport&) {
    if (talk.protocol.lines.size() == 2) talk.transport.set_congested(true);
  };
  talk.protocol.data_received("1\n2\n3\n4\nhal");
  CHECK(talk.protocol.lines.size() == 2);
  CHECK(talk.protocol.owes_answer());
  talk.protocol.data_received("f\n5\n");  // was under way already
  CHECK(talk.protocol.lines.size() == 2);
  talk.transport.set_congested(false);
  talk.protocol.output_drained();
  CHECK(talk.transport.take_written() == "<1>\n<2>\n<3>\n<4>\n<half>\n<5>\n");
  CHECK(!talk.protocol.owes_answer());
}

TEST_CASE("line protocol: congestion after every line answers one at a time") {
  Conversation talk;
  talk.protocol.after_line = [&](tap::net::Transport&) { talk.transport.set_congested(true); };
  talk.protocol.data_received("a\nb\nc\nd");
  for (const char* expected : {"<a>\n", "<b>\n", "<c>\n"}) {
    CHECK(talk.transport.take_written() == expected);
    talk.transport.set_congested(false);
    talk.protocol.output_drained();
  }
  CHECK(talk.transport.take_written().empty());
  CHECK(!talk.protocol.owes_answer());
}

TEST_CASE("line protocol: lose_connection inside line_received stops the rest") {
  Conversation talk;
  talk.protocol.after_line = [](tap::net::Transport& transport) { transport.lose_connection(); };
  talk.protocol.data_received("quit\nignored\n");
  CHECK(talk.protocol.lines == std::vector<std::string>{"quit"});
  CHECK(!talk.protocol.owes_answer());
}

TEST_CASE("line protocol: the end of the stream ends the connection, and a line without its end is no request") {
  Conversation talk;
  talk.protocol.data_received("one\ntw");
  talk.protocol.end_received();
  CHECK(talk.transport.lost());
  CHECK(talk.protocol.lines == std::vector<std::string>{"one"});
}

TEST_CASE("line protocol: the end of the stream waits for the answers to waiting lines") {
  Conversation talk;
  talk.transport.set_congested(true);
  talk.protocol.data_received("one\ntwo\n");
  talk.protocol.end_received();
  CHECK(!talk.transport.lost());
  CHECK(talk.protocol.owes_answer());
  talk.transport.set_congested(false);
  talk.protocol.output_drained();
  CHECK(talk.transport.take_written() == "<one>\n<two>\n");
  CHECK(talk.transport.lost());
}

TEST_CASE("line protocol: owes_answer is true exactly while a whole line waits") {
  Conversation talk;
  CHECK(!talk.protocol.owes_answer());
  talk.transport.set_congested(true);
  talk.protocol.data_received("par");
  CHECK(!talk.protocol.owes_answer());
  talk.protocol.data_received("tial\n");
  CHECK(talk.protocol.owes_answer());
  talk.transport.set_congested(false);
  talk.protocol.output_drained();
  CHECK(!talk.protocol.owes_answer());
}

TEST_CASE("line protocol: a refusal is answered with ERR and its reason, and the connection goes on") {
  Conversation talk;
  talk.protocol.after_line = [&](tap::net::Transport&) {
    if (talk.protocol.lines.size() == 2) throw tap::net::Refusal("the disk is full");
  };
  talk.protocol.data_received("a\nb\nc\n");
  CHECK(talk.transport.take_written() == "<a>\n<b>\nERR the disk is full\n<c>\n");
  CHECK_FALSE(talk.transport.ending());
}

namespace {

/// "raw N" takes N raw bytes, then lines go on; "raw" takes all that follows.
class Mixed final : public LineProtocol {
 public:
  explicit Mixed(std::size_t line_bytes_max = kLineBytesMax) : LineProtocol(line_bytes_max) {}
  std::string heard;
  std::function<void()> after;

 private:
  void line_received(std::string_view line) override {
    heard += "[" + std::string(line) + "]";
    if (line.substr(0, 3) == "raw") {
      left_ = line.size() > 4 ? std::stoul(std::string(line.substr(4))) : std::string::npos;
      if (left_ != 0) set_raw_mode();
    }
    if (after) after();
  }
  void raw_received(std::string_view bytes) override {
    const std::string_view mine = bytes.substr(0, left_);
    heard += mine;
    if (left_ != std::string::npos) left_ -= mine.size();
    if (left_ == 0) set_line_mode(bytes.substr(mine.size()));
    if (after) after();
  }
  std::size_t left_ = 0;
};

}  // namespace

TEST_CASE("line protocol: raw mode and line mode are switched inside one read, wherever it is cut") {
  const std::string input = "a\nraw 5\n1\n3\n5b\nraw 0\nc\nraw\nx\ny";
  const std::string expected = "[a][raw 5]1\n3\n5[b][raw 0][c][raw]x\ny";
  for (std::size_t first = 0; first <= input.size(); ++first) {
    for (std::size_t second = first; second <= input.size(); ++second) {
      StringTransport transport;
      Mixed protocol;
      protocol.attach(transport);
      for (const std::string& piece :
           {input.substr(0, first), input.substr(first, second - first), input.substr(second)}) {
        if (!piece.empty()) protocol.data_received(piece);
      }
      CAPTURE(first);
      CAPTURE(second);
      REQUIRE(protocol.heard == expected);
    }
  }
}

TEST_CASE("line protocol: raw bytes wait too while the peer does not read, and are owed") {
  StringTransport transport;
  Mixed protocol;
  protocol.attach(transport);
  protocol.after = [&] { transport.set_congested(true); };
  protocol.data_received("raw 3\nxyz");
  protocol.data_received("end\n");
  CHECK(protocol.heard == "[raw 3]");
  CHECK(protocol.owes_answer());
  for (const char* expected : {"[raw 3]xyz", "[raw 3]xyz[end]"}) {
    transport.set_congested(false);
    protocol.output_drained();
    CHECK(protocol.heard == expected);
  }
  CHECK_FALSE(protocol.owes_answer());
}

TEST_CASE("line protocol: a line that is too long for this protocol, but not for others") {
  StringTransport transport;
  Mixed protocol(4);
  protocol.attach(transport);
  protocol.data_received("1234\n");
  CHECK_FALSE(transport.aborted());
  protocol.data_received("12345");
  CHECK(transport.failure() == "a line is longer than 4 bytes");
}

TEST_CASE("line protocol: raw bytes for a protocol that takes none end the connection") {
  class Forgetful final : public LineProtocol {
    void line_received(std::string_view /*line*/) override { set_raw_mode(); }
  } protocol;
  StringTransport transport;
  protocol.attach(transport);
  protocol.data_received("go\nraw");
  CHECK(transport.failure() == "the protocol is in raw mode and takes no raw bytes");
}
