#include "services/net/descriptor_reserve.hpp"

#include <sys/eventfd.h>
#include <sys/resource.h>

#include <algorithm>

#include "state/base/fd.hpp"

namespace tap::net {

std::uint64_t DescriptorReserve::reserve() const { return std::min(kDescriptorReserve, limit_ / 4); }

bool DescriptorReserve::enough() {
  return limit_ != 0 && newest_ + kDescriptorReserve + kNear < limit_ ? true : look();
}

bool DescriptorReserve::look() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return true;  // it cannot fail; if it does, accept(2) will tell
  limit_ = limit.rlim_cur;
  const Fd lowest_free(::eventfd(0, EFD_CLOEXEC));
  if (!lowest_free.open()) return false;
  newest_ = static_cast<std::uint64_t>(lowest_free.get());
  return newest_ + reserve() < limit_;
}

}  // namespace tap::net
