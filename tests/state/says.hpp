// says() and error_of(): an error's fault and message, as a test asks for them.
#pragma once

#include <string_view>

#include "state/base/result.hpp"

namespace tap::tests {

[[nodiscard]] inline bool says(const Error& error, std::string_view part) {
  return error.message.find(part) != std::string::npos;
}

/// The error of a Result that should be one; Fault::usage, which state/ never gives, when it is none.
template <class T>
[[nodiscard]] Error error_of(const Result<T>& result) {
  return result.ok() ? Error{Fault::usage, "there is no error"} : result.error();
}

}  // namespace tap::tests
