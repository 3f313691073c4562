// A forked child: for what a test must see die, or must see from another process. Nothing here waits for ever.
#pragma once

#include <functional>
#include <string>

namespace tap::tests {

/// How a child ended.
struct ChildEnd {
  int code = -1;     ///< exit code; 128 + N when signal N killed it; -1 when it did not end in time (it was killed)
  std::string said;  ///< what it printed to stderr, and then what `body` returned
};

/// Runs `body` in a forked child and waits for it. Exit code 0 when `body` returns.
[[nodiscard]] ChildEnd in_child(const std::function<std::string()>& body);

}  // namespace tap::tests
