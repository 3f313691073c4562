// Binding: from an endpoint to a socket, with plain system calls. The keeper does it; the loop comes later.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <optional>
#include <string>

#include "services/net/endpoint.hpp"
#include "services/net/inherited_sockets.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::net {

/// A socket that is bound but does not listen yet: ports open when the state has been recovered. One for datagrams
/// takes them from now on; they wait in the kernel.
struct BoundEndpoint {
  Endpoint endpoint;
  Fd fd;                  ///< none for stdio
  std::string text;       ///< with the real port: "tcp:127.0.0.1:40123"
  dev_t file_device = 0;  ///< of a UNIX socket's file, to know it again
  ino_t file_inode = 0;
  timespec file_made{};  ///< inodes are given out again, often at once

  /// Whether it is of the UNIX domain; an inherited one may be of any. REQUIRES: fd.
  [[nodiscard]] bool is_local() const;
};

/// Who a UNIX socket's file is given to, when not to the caller.
struct SocketOwner {
  uid_t uid;
  gid_t gid;
};

/// Errors: unavailable (69) names the endpoint and the reason; permission (77).
/// A UNIX socket file that nobody answers on is taken to be left over and replaced; one that somebody answers on, or a
/// file of another kind, is not touched. The endpoint of an inherited socket comes back with the
/// descriptor it was found under.
[[nodiscard]] Result<BoundEndpoint> bind_endpoint(const Endpoint& endpoint, const std::optional<SocketOwner>& owner,
                                                  const InheritedSockets& inherited = {});

/// Removes a UNIX socket's file, if it is still the one that was bound.
void unlink_endpoint(const BoundEndpoint& bound);

}  // namespace tap::net
