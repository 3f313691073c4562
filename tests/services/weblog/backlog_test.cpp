// The hits that clients wait for, by their numbers.
#include "services/weblog/backlog.hpp"

#include <doctest/doctest.h>

#include <string>

using tap::services::weblog::Backlog;

namespace {

/// Hits "<5>", "<6>", ... as one batch.
void append(Backlog& backlog, std::uint64_t count) {
  std::string xml;
  std::vector<std::uint32_t> ends;
  for (std::uint64_t i = 0; i < count; ++i) {
    xml += "<" + std::to_string(backlog.end() + i) + ">";
    ends.push_back(static_cast<std::uint32_t>(xml.size()));
  }
  backlog.append(xml, ends);
}

std::string read_all(const Backlog& backlog, std::uint64_t from, std::size_t piece) {
  std::string all;
  while (from < backlog.end()) all += backlog.read(from, piece);
  return all;
}

}  // namespace

TEST_CASE("weblog backlog: from any number on, in pieces of any size, each hit comes once and whole") {
  Backlog backlog;
  backlog.start(7);
  append(backlog, 3);
  append(backlog, 0);
  append(backlog, 1);
  append(backlog, 2);
  CHECK(backlog.begin() == 7);
  CHECK(backlog.end() == 13);
  const std::string all = "<7><8><9><10><11><12>";
  CHECK(backlog.bytes() == all.size());
  for (std::uint64_t from = 7; from < 13; ++from) {
    for (std::size_t piece = 0; piece < 20; ++piece) {
      CAPTURE(from);
      CAPTURE(piece);
      CHECK(read_all(backlog, from, piece) == all.substr(all.find("<" + std::to_string(from))));
    }
  }
  std::uint64_t number = 7;
  CHECK(backlog.read(number, 6) == "<7><8>");
  CHECK(number == 9);
  CHECK(backlog.read(number, 1) == "<9>");
  CHECK(backlog.read(number, 100) == "<10>");
}

TEST_CASE("weblog backlog: what nobody needs goes, what is kept stays whatever it takes") {
  Backlog backlog;
  backlog.start(0);
  for (int i = 0; i < 10; ++i) append(backlog, 1);
  backlog.trim(4, 8, 1000);
  CHECK(backlog.begin() == 4);
  backlog.trim(4, 8, 9);
  CHECK(backlog.begin() == 7);
  backlog.trim(4, 8, 0);
  CHECK(backlog.begin() == 8);
  CHECK(backlog.bytes() == 6);
  CHECK(read_all(backlog, 8, 100) == "<8><9>");
  backlog.trim(10, 10, 0);
  CHECK(backlog.begin() == 10);
  CHECK(backlog.bytes() == 0);
}
