// What happens in a real directory is told to a loop.
#include "services/net/directory_watch.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::tests;
using net::DirectoryWatch;

TEST_CASE("directory watch: a file that comes, grows, is renamed and goes is told, others are not") {
  const TemporaryDirectory directory;
  Loop loop;
  int told = 0;
  auto watch = DirectoryWatch::open(loop.reactor, directory / "a.log", [&told] { ++told; });
  REQUIRE(watch.ok());
  const auto tells = [&] {
    const int before = told;
    return loop.turn_until([&] { return told > before; });
  };
  write_text(directory / "b.log", "x");
  loop.turn(50);
  CHECK(told == 0);
  write_text(directory / "a.log", "x");
  CHECK(tells());
  loop.turn(50);
  std::filesystem::rename(directory / "a.log", directory / "a.log.1");
  CHECK(tells());
  loop.turn(50);
  write_text(directory / "a.log.1", "y");
  CHECK(tells());
  loop.turn(50);
  std::filesystem::remove(directory / "a.log.1");
  CHECK(tells());
  CHECK_FALSE((*watch)->over());
}

TEST_CASE("directory watch: it may be dropped from its own call, and a directory that goes is its end") {
  const TemporaryDirectory directory;
  const std::string inner = directory / "inner";
  std::filesystem::create_directory(inner);
  Loop loop;
  std::unique_ptr<DirectoryWatch> watch;
  bool over = false;
  auto opened = DirectoryWatch::open(loop.reactor, inner + "/file", [&] {
    over = watch->over();
    watch.reset();
  });
  REQUIRE(opened.ok());
  watch = std::move(opened).value();
  std::filesystem::remove(inner);
  CHECK(loop.turn_until([&] { return watch == nullptr; }));
  CHECK(over);
  const auto missing = DirectoryWatch::open(loop.reactor, inner + "/file", [] {});
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().fault == Fault::no_input);
}
