#include "services/net/deferred.hpp"

#include <cerrno>

namespace tap::net {
namespace {

/// In os_code, where an errno would be: no errno is negative.
constexpr int kExceptionCode = -1;

}  // namespace

Error cancelled_error() { return Error{Fault::temporary, "cancelled", ECANCELED}; }

bool is_cancelled(const Error& error) { return error.os_code == ECANCELED; }

Error current_exception_error() {
  try {
    throw;
  } catch (const Failure& failure) {
    return failure.error();
  } catch (const std::exception& thrown) {
    return Error{Fault::internal, std::string("an exception: ") + thrown.what(), kExceptionCode};
  } catch (...) {
    return Error{Fault::internal, "an exception of an unknown type", kExceptionCode};
  }
}

bool is_exception(const Error& error) { return error.os_code == kExceptionCode; }

}  // namespace tap::net
