#include "state/base/result.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <csignal>
#include <memory>

#include "tests/state/child.hpp"

using tap::Error;
using tap::Fault;
using tap::Result;
using tap::tests::in_child;

namespace {

Result<int> read_number(bool works) {
  if (!works) return Error{Fault::damaged, "the file is empty"};
  return 42;
}

}  // namespace

TEST_CASE("result: context comes in front, the outermost first, and the fault stays") {
  Result<int> failed = read_number(false);
  REQUIRE_FALSE(failed.ok());
  const Error error = std::move(failed).error().with("reading a.tap").with("starting fib");
  CHECK(error.message == "starting fib: reading a.tap: the file is empty");
  CHECK(error.fault == Fault::damaged);
  CHECK(error.exit_code() == 65);
}

TEST_CASE("result: a value is there to be looked at and taken") {
  Result<int> number = read_number(true);
  REQUIRE(number);
  CHECK(*number == 42);
  Result<std::unique_ptr<int>> owned = std::make_unique<int>(7);
  REQUIRE(owned.ok());
  CHECK(**owned == 7);
  const std::unique_ptr<int> taken = std::move(owned).value();
  CHECK(*taken == 7);
}

TEST_CASE("result: success without a value is success") {
  const Result<void> done{};
  CHECK(done.ok());
  const Result<void> failed = Error{Fault::config, "newer"};
  CHECK_FALSE(failed.ok());
  CHECK(failed.error().exit_code() == 78);
}

TEST_CASE("result: an error from errno says what was tried and why it failed") {
  errno = EACCES;
  const Error error = tap::errno_error(Fault::permission, "opening /etc/x");
  CHECK(error.message == "opening /etc/x: Permission denied");
  CHECK(error.exit_code() == 77);
  CHECK(tap::errno_error(Fault::no_input, "opening y", ENOENT).message == "opening y: No such file or directory");
}

TEST_CASE("result: every fault has the exit code of sysexits") {
  CHECK(static_cast<int>(Fault::usage) == 64);
  CHECK(static_cast<int>(Fault::no_input) == 66);
  CHECK(static_cast<int>(Fault::unavailable) == 69);
  CHECK(static_cast<int>(Fault::internal) == 70);
  CHECK(static_cast<int>(Fault::cannot_create) == 73);
  CHECK(static_cast<int>(Fault::temporary) == 75);
}

TEST_CASE("result: asking for what is not there aborts and says where") {
  const auto value_of_error = in_child([] { return std::to_string(read_number(false).value()); });
  CHECK(value_of_error.code == 128 + SIGABRT);
  CHECK(value_of_error.said.find("result.hpp:") != std::string::npos);
  CHECK(value_of_error.said.find("assertion failed: ok()") != std::string::npos);
  const auto error_of_value = in_child([] { return read_number(true).error().message; });
  CHECK(error_of_value.code == 128 + SIGABRT);
  CHECK(error_of_value.said.find("assertion failed: !ok()") != std::string::npos);
  const auto error_of_success = in_child([] { return Result<void>{}.error().message; });
  CHECK(error_of_success.code == 128 + SIGABRT);
}
