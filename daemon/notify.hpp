// Telling whoever started us how we are: systemd's protocol (sd_notify(3)) and a plain descriptor (as s6 does).
#pragma once

#include <string>

namespace tap::daemon {

/// Sends `state` ("READY=1\nSTATUS=...") to $NOTIFY_SOCKET, if there is one. Failure is silent: nobody is listening.
void notify_systemd(const std::string& state);

/// Writes a newline to `fd` and closes it; does nothing for -1.
void notify_descriptor(int& fd);

}  // namespace tap::daemon
