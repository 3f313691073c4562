#include "tests/state/weak.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "state/base/assert.hpp"

namespace tap::tests {
namespace {

constexpr uid_t kNobody = 65534;

}  // namespace

Unprivileged::Unprivileged(const std::string& directory) : directory_(directory), was_root_(::geteuid() == 0) {
  TAP_ASSERT(::chmod(directory_.c_str(), 0555) == 0);
  if (was_root_) TAP_ASSERT(::seteuid(kNobody) == 0);
}

Unprivileged::~Unprivileged() {
  if (was_root_) TAP_ASSERT(::seteuid(0) == 0);
  TAP_ASSERT(::chmod(directory_.c_str(), 0700) == 0);
}

FileSizeLimit::FileSizeLimit(std::uint64_t bytes) {
  rlimit limit{};
  TAP_ASSERT(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  before_ = limit.rlim_cur;
  handler_ = ::signal(SIGXFSZ, SIG_IGN);
  limit.rlim_cur = bytes;
  TAP_ASSERT(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

FileSizeLimit::~FileSizeLimit() {
  rlimit limit{};
  TAP_ASSERT(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  limit.rlim_cur = before_;
  TAP_ASSERT(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  ::signal(SIGXFSZ, handler_);
}

}  // namespace tap::tests
