// defer_to_thread: work that blocks, done in libuv's pool, its answer a Deferred.
//
//     Result<Bytes> read = co_await defer_to_thread(reactor, ReadFile(path));
//
// The pool has four threads (UV_THREADPOOL_SIZE) for the whole process, and name resolution uses it too: what blocks for
// long gets a thread of its own instead. The journal never waits behind it, it has its own.
//
// Tests: tests/services/net/process_test.cpp
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "services/net/deferred.hpp"
#include "services/net/reactor.hpp"

namespace tap::net {

/// Runs `work` in the pool, then `done` on the loop. Thread: the loop's, for the call.
/// The Deferred: dropped, the work is not begun if it was not yet, and its end is heard by nobody. What `work` throws is
/// its error. Lifetime: the reactor waits at its end for work that has begun.
Deferred<void> run_in_pool(Reactor& reactor, std::function<void()> work);

/// What `code` returns: a value, a Result or nothing. It is copied into the pool and must touch nothing that the loop
/// touches.
template <class Code>
Deferred<deferred::ValueOf<Code, void>> defer_to_thread(Reactor& reactor, Code code) {
  using Raw = std::invoke_result_t<Code&>;
  using Value = deferred::ValueOf<Code, void>;
  if constexpr (std::is_void_v<Raw>) {
    return run_in_pool(reactor, std::move(code));
  } else {
    // Belongs to the work until it is done, to the callback after it; whoever is last frees it.
    auto answer = std::make_shared<std::optional<Result<Value>>>();
    return run_in_pool(reactor, [answer, code = std::move(code)]() mutable { answer->emplace(code()); })
        .add_callback([answer]() -> Result<Value> { return std::move(**answer); });
  }
}

}  // namespace tap::net
