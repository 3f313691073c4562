// golden/format-1.tap is what format version 1 looks like. It is never made again: if this test fails, the program has
// changed the meaning of bytes that people have on their disks. (golden/write_format_1.py shows how it was made, once,
// by a program that shares no code with this one.)
#include <doctest/doctest.h>

#include <numeric>

#include "state/archive.hpp"
#include "tests/support/temporary_directory.hpp"

using tap::Bytes;
using tap::state::Archive;
using tap::state::sha256;

namespace {

std::string golden(const std::string& name) { return tap::tests::read_text(std::string(TAP_GOLDEN) + "/" + name); }

void put_string(Bytes& out, const std::string& text) {
  tap::put_le<std::uint64_t>(out, text.size());
  out += text;
}

void check_header(const Archive& archive) {
  CHECK(archive.compatible_features == std::uint64_t{1} << 40U);
  CHECK(archive.read_only_features == 0);
  CHECK(archive.incompatible_features == 0);
  CHECK(archive.lineage.text() == "6ba7b810-9dad-41d1-80b4-00c04fd430c8");
  CHECK(archive.generation == 42);
  CHECK(archive.base_lsn == 0);
  CHECK(archive.epoch == 3);
  CHECK(archive.parent.text() == "01234567-89ab-4cde-8f01-23456789abcd");
  CHECK(archive.parent_generation == 17);
  CHECK(archive.parent_digest == sha256("parent"));
  CHECK(archive.created_ms == 1'732'233'600'123);
  CHECK(archive.writer == "tapd 0.1.0");
}

void check_definition(const tap::state::Definition& definition) {
  CHECK(definition.name == "Golden");
  CHECK(definition.durability == "shutdown");
  CHECK(definition.stop_timeout_ms == 12'500);
  REQUIRE(definition.services.size() == 2);
  const auto& fib = definition.services[0];
  CHECK(fib.name == "fib");
  CHECK(fib.kind == "fibonacci");
  CHECK(fib.listen == std::vector<std::string>{"tcp:8888:interface=127.0.0.1", "unix:/run/tapd/fib.sock"});
  CHECK(fib.durability == "shutdown");
  CHECK(fib.connections_max == 100);
  CHECK(fib.idle_timeout_ms == 300'000);
  CHECK(fib.options ==
        std::map<std::string, std::string>{{"framing", "line"}, {std::string("odd\0key", 7), "caf\xc3\xa9 <&>"}});
  const tap::state::ServiceDefinition echo{"echo", "echo", {}, "", 10'000, 0, {}};
  CHECK(definition.services[1] == echo);
}

}  // namespace

TEST_CASE("archive: the golden file of format 1 is read, every value of it") {
  const Bytes bytes = golden("format-1.tap");
  REQUIRE(bytes.size() == 1219);
  const auto archive = tap::state::decode_archive(bytes);
  REQUIRE(archive.ok());
  check_header(*archive);
  check_definition(archive->definition);
  REQUIRE(archive->ancestors.size() == 3);
  std::size_t at = 0;
  for (const std::uint64_t generation : {18U, 40U, 41U}) {
    const auto digest = sha256("generation " + std::to_string(generation));
    CHECK(archive->ancestors[at++] == tap::state::make_ancestor(generation, digest));
  }
  REQUIRE(archive->sections.size() == 2);
  Bytes numbers;
  tap::put_le<std::uint32_t>(numbers, 1);
  for (const std::uint64_t value :
       {3ULL, 865'075ULL, 475'899'324ULL, 12ULL, 1ULL, 999'999'999'999'999'999ULL, 100ULL}) {
    tap::put_le<std::uint64_t>(numbers, value);
  }
  CHECK(archive->sections[0].service == "fib");
  CHECK(archive->sections[0].kind == "fibonacci");
  CHECK(archive->sections[0].schema_version == 1);
  CHECK(archive->sections[0].payload == numbers);
  Bytes all(256, '\0');
  std::iota(all.begin(), all.end(), char{0});
  CHECK(archive->sections[1].service == "gone");
  CHECK(archive->sections[1].kind == "no longer known");
  CHECK(archive->sections[1].schema_version == 7);
  CHECK(archive->sections[1].payload == all);
}

TEST_CASE("archive: the golden file of format 1 is written again byte for byte") {
  const Bytes bytes = golden("format-1.tap");
  const auto archive = tap::state::decode_archive(bytes);
  REQUIRE(archive.ok());
  CHECK((tap::state::encode_archive(*archive) == bytes));
  CHECK(tap::state::archive_digest(bytes).text() == "d4dd79a260799b5c54af95c6d06b01f6e43d55ab7e4be5a621e6664238715c31");
}

TEST_CASE("archive: the golden file's definition is written as FORMAT.md says") {
  const auto archive = tap::state::decode_archive(golden("format-1.tap"));
  REQUIRE(archive.ok());
  Bytes expected;
  tap::put_le<std::uint32_t>(expected, 1);
  put_string(expected, "Golden");
  put_string(expected, "shutdown");
  tap::put_le<std::uint64_t>(expected, 12'500);
  tap::put_le<std::uint64_t>(expected, 2);
  CHECK(tap::state::encode_definition(archive->definition).substr(0, expected.size()) == expected);
}
