#include "state/definition.hpp"

#include <doctest/doctest.h>

#include "tests/state/archive_samples.hpp"
#include "tests/state/says.hpp"

using tap::Bytes;
using tap::Fault;
using tap::state::decode_definition;
using tap::state::Definition;
using tap::state::encode_definition;
using tap::state::is_name;
using tap::tests::error_of;
using tap::tests::sample_definition;
using tap::tests::says;

TEST_CASE("definition: it reads back as it was written") {
  const auto back = decode_definition(encode_definition(sample_definition()), Definition::kSchemaVersion);
  REQUIRE(back.ok());
  CHECK(*back == sample_definition());
  const auto empty = decode_definition(encode_definition(Definition{}), Definition::kSchemaVersion);
  REQUIRE(empty.ok());
  CHECK(*empty == Definition{});
}

TEST_CASE("definition: without further limits it is written in schema 1, with one in schema 2, and both are read") {
  Definition definition = sample_definition();
  CHECK(tap::state::definition_schema(definition) == 1);
  const Bytes plain = encode_definition(definition);
  definition.services[1].limits = {{"read_rate", 65'536}, {"keepalive", 60'000}};
  CHECK(tap::state::definition_schema(definition) == 2);
  const auto back = decode_definition(encode_definition(definition), 2);
  REQUIRE(back.ok());
  CHECK(*back == definition);
  CHECK_FALSE(*back == sample_definition());

  definition = sample_definition();
  definition.limits = {{"memory_budget", 1 << 30}};
  CHECK(tap::state::definition_schema(definition) == 2);
  const auto budget = decode_definition(encode_definition(definition), 2);
  REQUIRE(budget.ok());
  CHECK(*budget == definition);
  definition.limits.clear();
  CHECK(encode_definition(definition) == plain);
}

TEST_CASE("definition: every truncation of schema 2 is refused") {
  Definition definition = sample_definition();
  definition.services[0].limits = {{"read_rate", 1}};
  const Bytes payload = encode_definition(definition);
  for (std::size_t size = 0; size < payload.size(); ++size) {
    REQUIRE_MESSAGE(error_of(decode_definition(payload.substr(0, size), 2)).fault == Fault::damaged, "size ", size);
  }
}

TEST_CASE("definition: a service is found by its name") {
  const Definition definition = sample_definition();
  REQUIRE(definition.find("echo") != nullptr);
  CHECK(definition.find("echo")->kind == "echo");
  CHECK(definition.find("nobody") == nullptr);
}

TEST_CASE("definition: a newer schema is 78, whatever the payload holds") {
  const auto error = error_of(decode_definition("", Definition::kSchemaVersion + 1));
  CHECK(error.fault == Fault::config);
  CHECK(says(error, "schema version 3"));
}

TEST_CASE("definition: every truncation and every addition is refused") {
  const Bytes payload = encode_definition(sample_definition());
  for (std::size_t size = 0; size < payload.size(); ++size) {
    const auto error = error_of(decode_definition(payload.substr(0, size), Definition::kSchemaVersion));
    REQUIRE_MESSAGE(error.fault == Fault::damaged, "size ", size);
    REQUIRE(says(error, "the application's definition: "));
  }
  CHECK(error_of(decode_definition(payload + '\0', Definition::kSchemaVersion)).fault == Fault::damaged);
}

TEST_CASE("definition: a name is letters, digits, '.', '_' and '-', and begins with neither '.' nor '-'") {
  for (const char* name : {"a", "Fibonacci", "fib-2", "fib.test_3", "_x", "0", "Z9"})
    CHECK_MESSAGE(is_name(name), name);
  for (const char* name : {"", ".", "..", ".a", "-a", "a/b", "../x", "a b", "a\n", "caf\xc3\xa9", "a:b", "a\\b", "a@",
                           "a[", "a`", "a{", "a,"}) {
    CHECK_FALSE_MESSAGE(is_name(name), name);
  }
  CHECK_FALSE(is_name(std::string_view("a\0b", 3)));
  CHECK(is_name(std::string(64, 'a')));
  CHECK_FALSE(is_name(std::string(65, 'a')));
}
