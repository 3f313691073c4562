// Result<T>: what a function returns when the world may say no.
//
// The lower layer returns an Error, each layer above puts its own context in front (`.with("reading a.tap")`), so
// that the line which is finally logged reads as a path: "starting fib: reading a.tap: the file is empty".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "state/base/assert.hpp"

namespace tap {

/// Why something failed, in the words of sysexits(3): the value is the exit code it leads to.
enum class Fault : int {
  usage = 64,          ///< the command line is wrong
  damaged = 65,        ///< data that is damaged, refused
  no_input = 66,       ///< no such input file, or not a file at all
  unavailable = 69,    ///< a port or another needed thing cannot be had
  internal = 70,       ///< an I/O failure or a failure of ours
  cannot_create = 73,  ///< cannot create or lock a file, or the store says no
  temporary = 75,      ///< may work when tried again
  permission = 77,     ///< not permitted
  config = 78,         ///< the configuration, or a format newer than this binary
};

/// A failure and its path: `message` is one or more whole sentences for a person.
struct Error {
  Fault fault = Fault::internal;
  std::string message;
  int os_code = 0;  ///< errno, where that was the reason

  /// The same error with context in front.
  [[nodiscard]] Error with(std::string_view context) && {
    message.insert(0, std::string(context) + ": ");
    return std::move(*this);
  }
  [[nodiscard]] int exit_code() const { return static_cast<int>(fault); }
};

/// An Error from errno, `what` says what was tried: "opening /etc/x: Permission denied".
/// Lifetime: reads errno (or `code`) at once; nothing is kept.
[[nodiscard]] Error errno_error(Fault fault, std::string_view what, int code);
[[nodiscard]] Error errno_error(Fault fault, std::string_view what);

/// Either a T or an Error. Asking for the one that is not there is a bug and aborts.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool ok() const { return content_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return TAP_ASSERT(ok()), std::get<0>(content_); }
  const T& value() const& { return TAP_ASSERT(ok()), std::get<0>(content_); }
  T&& value() && { return TAP_ASSERT(ok()), std::move(std::get<0>(content_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  Error& error() & { return TAP_ASSERT(!ok()), std::get<1>(content_); }
  const Error& error() const& { return TAP_ASSERT(!ok()), std::get<1>(content_); }
  Error&& error() && { return TAP_ASSERT(!ok()), std::move(std::get<1>(content_)); }

 private:
  std::variant<T, Error> content_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }

  Error& error() & { return TAP_ASSERT(!ok()), *error_; }
  const Error& error() const& { return TAP_ASSERT(!ok()), *error_; }
  Error&& error() && { return TAP_ASSERT(!ok()), std::move(*error_); }

 private:
  std::optional<Error> error_;
};

}  // namespace tap
