#include "state/base/result.hpp"

#include <cerrno>
#include <system_error>

namespace tap {

Error errno_error(Fault fault, std::string_view what, int code) {
  return Error{fault, std::string(what) + ": " + std::generic_category().message(code), code};
}

Error errno_error(Fault fault, std::string_view what) { return errno_error(fault, what, errno); }

}  // namespace tap
