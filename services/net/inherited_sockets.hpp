// InheritedSockets: the listening sockets that systemd hands to a program that it starts.
//
// Protocol: sd_listen_fds(3): LISTEN_PID is whom they are meant for, LISTEN_FDS how many there are, from descriptor 3
// on, LISTEN_FDNAMES their names with colons between.
// Tests: tests/services/net/inherited_sockets_test.cpp
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "services/net/endpoint.hpp"
#include "state/base/result.hpp"

namespace tap::net {

class InheritedSockets {
 public:
  static constexpr int kFirstDescriptor = 3;
  static constexpr unsigned kSocketsMax = 4'096;

  InheritedSockets() = default;
  /// What the three variables mean for the process `self`; nothing when they are for another, or make no sense.
  InheritedSockets(const char* pid, const char* count, const char* names, pid_t self);

  /// Takes them out of the environment, so that no child believes that they are its own, and closes them on exec.
  /// Thread: while there is only one.
  [[nodiscard]] static InheritedSockets take_from_environment();

  /// The descriptor that a systemd: endpoint means. Errors: unavailable: there is none, or it is of another domain.
  [[nodiscard]] Result<int> find(const Endpoint& endpoint) const;
  [[nodiscard]] std::vector<int> descriptors() const;
  /// Of a descriptor among them.
  [[nodiscard]] const std::string& name(int descriptor) const;

 private:
  std::vector<std::string> names_;  ///< of the descriptors from kFirstDescriptor on
};

}  // namespace tap::net
