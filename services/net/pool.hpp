// Pool: work that blocks, done by libuv's threads, with its end told on the loop.
//
// Tests: tests/services/net/pool_test.cpp
#pragma once

#include <functional>
#include <utility>

#include "services/net/reactor.hpp"
#include "state/base/result.hpp"

namespace tap::net {

/// The news of one piece of work, as long as this object lives: dropping it calls off the news. Work that has begun goes
/// on to its end; work that has not is not begun.
class PoolWork {
 public:
  PoolWork() = default;
  PoolWork(PoolWork&& other) noexcept { take(other); }
  PoolWork& operator=(PoolWork&& other) noexcept {
    if (this != &other) {
      cancel();
      take(other);
    }
    return *this;
  }
  PoolWork(const PoolWork&) = delete;
  PoolWork& operator=(const PoolWork&) = delete;
  ~PoolWork() { cancel(); }

  void cancel();
  /// Whether its end is still to be told.
  [[nodiscard]] bool active() const { return request_ != nullptr; }

 private:
  struct Request;
  friend PoolWork run_in_pool(Reactor&, std::function<void()>, std::function<void(Result<void>)>);
  void take(PoolWork& other) noexcept;

  Request* request_ = nullptr;
};

/// Runs `work` in a thread of libuv's pool (UV_THREADPOOL_SIZE of them, 4 by default), then `done` on the loop. What `work`
/// throws is an error for `done` (internal), said in the log under the name of the service that asked, and counted there;
/// it ends nothing else. Thread: the loop's for this call and for `done`; `work` touches nothing of the loop.
[[nodiscard]] PoolWork run_in_pool(Reactor& reactor, std::function<void()> work, std::function<void(Result<void>)> done);

}  // namespace tap::net
