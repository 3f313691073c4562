// Privileges: who the services run as.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "state/base/result.hpp"

namespace tap::daemon {

struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Looks up -u and -g (names or numbers); nullopt when both are empty. Errors: usage for an unknown name; permission
/// when we are not root and it is not ourselves.
[[nodiscard]] Result<std::optional<Identity>> find_identity(const std::string& user, const std::string& group);

/// Enters `chroot` (empty: none), becomes `identity`, and gives up every capability. For good.
/// Errors: permission.
[[nodiscard]] Result<void> drop_privileges(const std::optional<Identity>& identity, const std::string& chroot);

}  // namespace tap::daemon
