#include "services/net/pool.hpp"

#include <uv.h>

#include <memory>
#include <optional>

#include "state/base/assert.hpp"

namespace tap::net {

/// Belongs to the loop from call to callback; the handle is forgotten when it goes.
struct PoolWork::Request {
  uv_work_t request{};
  Reactor& reactor;
  Reactor::Account account;
  std::function<void()> work;
  std::function<void(Result<void>)> done;
  bool tells_exceptions;  ///< in the log, although `done` hears of them
  PoolWork* owner = nullptr;
  std::optional<Error> error;

  Request(Reactor& on, std::function<void()> what, std::function<void(Result<void>)> then, bool tells)
      : reactor(on), account(on.charged()), work(std::move(what)), done(std::move(then)), tells_exceptions(tells) {
    request.data = this;
  }
  void run() noexcept;
  void finish(int status);
};

/// In a thread of the pool: nothing may leave it.
void PoolWork::Request::run() noexcept {
  try {
    work();
  } catch (...) {
    error = current_exception_error().with("work in the pool");
  }
}

void PoolWork::Request::finish(int status) {
  reactor.has_ended();
  if (error && is_exception(*error) && (tells_exceptions || owner == nullptr)) {
    reactor.count_exception(account);
    reactor.log().write(LogLevel::error, reactor.name_of(account), error->message);
  }
  if (owner == nullptr || status != 0) return;
  owner->request_ = nullptr;
  reactor.guarded(account, [this] { done(error ? Result<void>(*error) : Result<void>()); });
}

void PoolWork::take(PoolWork& other) noexcept {
  request_ = std::exchange(other.request_, nullptr);
  if (request_ != nullptr) request_->owner = this;
}

void PoolWork::cancel() {
  if (request_ == nullptr) return;
  Request* request = std::exchange(request_, nullptr);
  request->owner = nullptr;
  const std::function<void(Result<void>)> unheard = std::exchange(request->done, nullptr);  // it may hold this
  uv_cancel(reinterpret_cast<uv_req_t*>(&request->request));
}

/// Hands work to libuv.
class PoolQueue {
 public:
  [[nodiscard]] static PoolWork put(Reactor& reactor, std::function<void()> work,
                                    std::function<void(Result<void>)> done, bool tells_exceptions) {
    reactor.assert_on_loop();
    auto* request = new PoolWork::Request(reactor, std::move(work), std::move(done), tells_exceptions);
    PoolWork handle;
    handle.request_ = request;
    request->owner = &handle;
    reactor.will_end();
    const int status = uv_queue_work(
        reactor.loop(), &request->request,
        [](uv_work_t* begun) { static_cast<PoolWork::Request*>(begun->data)->run(); },
        [](uv_work_t* ended, int result) {
          const std::unique_ptr<PoolWork::Request> finished(static_cast<PoolWork::Request*>(ended->data));
          finished->finish(result);
        });
    TAP_ASSERT(status == 0);  // libuv refuses only work that is none
    return handle;
  }
};

PoolWork run_in_pool(Reactor& reactor, std::function<void()> work, std::function<void(Result<void>)> done) {
  return PoolQueue::put(reactor, std::move(work), std::move(done), true);
}

PoolWork run_in_pool_for(Reactor& reactor, std::function<void()> work, std::function<void(Result<void>)> done) {
  return PoolQueue::put(reactor, std::move(work), std::move(done), false);
}

}  // namespace tap::net
