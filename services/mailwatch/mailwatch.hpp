// The mailwatch service: waits for a file to appear, and tells its lines to whoever has asked for them.
//
// After "wait for mail" of the Twisted articles. A client says nothing: it connects and waits. When the file is there
// it gets its lines, and the connection ends; with `timeout` it gets `error: no mail within 5s` after so long instead.
// The file stays, so that the next client gets it at once. One that is still being written is waited for: until it ends
// with a newline, or has not changed between two looks.
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind mailwatch_kind();

}  // namespace tap::services
