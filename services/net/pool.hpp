// Pool: work that blocks, done by libuv's threads, with its end told on the loop.
//
//     Result<Bytes> read = co_await defer_to_thread(reactor, ReadFile(path));                 // an answer: a Deferred
//     work_ = run_in_pool(reactor, [path] { touch(path); }, [](const Result<void>&) {});      // the same by callback
//
// The pool has four threads (UV_THREADPOOL_SIZE) for the whole process, and name resolution uses it too: what blocks
// for long gets a thread of its own instead. The journal never waits behind it, it has its own.
//
// Tests: tests/services/net/pool_test.cpp
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "services/net/deferred.hpp"

#include "services/net/reactor.hpp"
#include "state/base/result.hpp"

namespace tap::net {

/// The news of one piece of work, as long as this object lives: dropping it calls off the news. Work that has begun
/// goes on to its end; work that has not is not begun.
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
  friend class PoolQueue;
  void take(PoolWork& other) noexcept;

  Request* request_ = nullptr;
};

/// Runs `work` in the pool, then `done` on the loop, from a later turn. What `work` throws is an error for `done`: a
/// Failure's own; another exception's is_exception(), and is said in the log under the name of the service that asked,
/// and counted there. It ends nothing else.
/// Thread: the loop's for this call and for `done`; `work` touches nothing of the loop. Lifetime: the reactor waits at
/// its end for work that has begun.
[[nodiscard]] PoolWork run_in_pool(Reactor& reactor, std::function<void()> work,
                                   std::function<void(Result<void>)> done);

/// As run_in_pool(), but an exception is only the error of `done`, who says what it means; it is said in the log when
/// nobody hears of it any more. For the kit: defer_to_thread().
[[nodiscard]] PoolWork run_in_pool_for(Reactor& reactor, std::function<void()> work,
                                       std::function<void(Result<void>)> done);

/// What `code` returns: a value, a Result or nothing. It is copied into the pool and must touch nothing that the loop
/// touches. The Deferred: dropped or cancelled, the work is not begun if it was not yet,
/// and its end is heard by nobody.
template <class Code>
Deferred<deferred::ValueOf<Code, void>> defer_to_thread(Reactor& reactor, Code code) {
  using Raw = std::invoke_result_t<Code&>;
  using Value = deferred::ValueOf<Code, void>;
  struct Waiting {
    DeferredSource<Value> source;
    PoolWork work;
  };
  // The answer belongs to the work until it is done, and to `done` after it; whoever is last frees it.
  const auto answer = std::make_shared<std::optional<Result<Value>>>();
  const auto waiting = std::make_shared<Waiting>();
  Deferred<Value> made = waiting->source.deferred();
  waiting->source.on_cancel([dropped = std::weak_ptr<Waiting>(waiting)] {
    const std::shared_ptr<Waiting> last = dropped.lock();  // the news hold the other one, and go with the work
    if (last != nullptr) last->work.cancel();
  });
  waiting->work = run_in_pool_for(
      reactor,
      [answer, code = std::move(code)]() mutable {
        if constexpr (std::is_void_v<Raw>) {
          code();
          answer->emplace();
        } else {
          answer->emplace(code());
        }
      },
      [answer, waiting](Result<void> ended) {
        DeferredSource<Value> source = std::move(waiting->source);
        if (ended) source.answer(std::move(**answer));
        else source.errback(std::move(ended).error());
      });
  return made;
}

}  // namespace tap::net
