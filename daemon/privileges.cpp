#include "daemon/privileges.hpp"

#include <cap-ng.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "services/units.hpp"

namespace tap::daemon {
namespace {

constexpr std::uint64_t kIdMax = 4'294'967'294;  // -1 means "no change" to setresuid(2)

std::optional<std::uint64_t> number(const std::string& text) {
  const auto value = services::parse_count(text);
  return value && *value <= kIdMax ? value : std::nullopt;
}

}  // namespace

Result<std::optional<Identity>> find_identity(const std::string& user, const std::string& group) {
  if (user.empty() && group.empty()) return std::optional<Identity>{};
  Identity identity{::geteuid(), ::getegid()};
  if (!user.empty()) {
    if (const passwd* entry = ::getpwnam(user.c_str())) {
      identity = {entry->pw_uid, entry->pw_gid};
    } else if (const auto id = number(user)) {
      identity.uid = static_cast<uid_t>(*id);
      const passwd* known = ::getpwuid(identity.uid);
      if (known != nullptr) identity.gid = known->pw_gid;
      if (known == nullptr && group.empty() && identity.uid != ::geteuid()) {
        return Error{Fault::usage, "-u " + user + ": this user has no entry, so no group; give one with -g"};
      }
    } else {
      return Error{Fault::usage, "-u: there is no user '" + user + "'"};
    }
  }
  if (!group.empty()) {
    if (const struct group* entry = ::getgrnam(group.c_str())) identity.gid = entry->gr_gid;
    else if (const auto id = number(group)) identity.gid = static_cast<gid_t>(*id);
    else return Error{Fault::usage, "-g: there is no group '" + group + "'"};
  }
  const bool ourselves = identity.uid == ::geteuid() && identity.gid == ::getegid();
  if (::geteuid() != 0 && !ourselves) {
    return Error{Fault::permission, "only root can run services as another user (-u, -g)"};
  }
  return std::optional(identity);
}

Result<void> drop_privileges(const std::optional<Identity>& identity, const std::string& chroot) {
  if (!chroot.empty() && (::chroot(chroot.c_str()) != 0 || ::chdir("/") != 0)) {
    return errno_error(Fault::permission, "entering --chroot " + chroot);
  }
  if (::geteuid() == 0 && identity && identity->uid != 0) {
    // While we may: afterwards nothing could be gained back through a file with capabilities.
    capng_clear(CAPNG_SELECT_BOUNDS);
    (void)capng_apply(CAPNG_SELECT_BOUNDS);
  }
  if (identity && ::geteuid() == 0) {
    if (::setgroups(1, &identity->gid) != 0 || ::setresgid(identity->gid, identity->gid, identity->gid) != 0 ||
        ::setresuid(identity->uid, identity->uid, identity->uid) != 0) {
      return errno_error(Fault::permission, "becoming user " + std::to_string(identity->uid));
    }
  }
  // Ports are bound and files are open: nothing that a client can reach needs a capability. A sandbox may forbid the
  // calls; it has then taken the capabilities already.
  if (::geteuid() != 0) {
    ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    capng_clear(CAPNG_SELECT_CAPS);
    (void)capng_apply(CAPNG_SELECT_CAPS);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (identity && ::setresuid(0, 0, 0) == 0) return Error{Fault::permission, "could not give up root for good"};
  }
  return {};
}

}  // namespace tap::daemon
