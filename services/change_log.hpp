// ChangeLog: where a state's changes go before they are applied.
#pragma once

#include "state/base/bytes.hpp"

namespace tap::services {

/// Thread: the loop's. Lifetime: outlives the StateCell it is given to.
class ChangeLog {
 public:
  ChangeLog() = default;
  ChangeLog(const ChangeLog&) = delete;
  ChangeLog& operator=(const ChangeLog&) = delete;
  virtual ~ChangeLog() = default;

  /// Whether changes are to be described to change(); false: the state is recorded as a whole anyway,
  /// whole() is enough.
  [[nodiscard]] virtual bool wants_changes() const = 0;
  /// A change that is about to be applied. Throws net::Refusal when there is no room for it: then it must not be.
  virtual void change(ByteView bytes) = 0;
  /// The state is about to change as a whole; it is asked for its bytes when the batch is closed. Throws net::Refusal.
  virtual void whole() = 0;
};

}  // namespace tap::services
