#include "services/net/pool.hpp"

#include <uv.h>

#include <exception>
#include <memory>
#include <optional>
#include <string>

#include "state/base/assert.hpp"

namespace tap::net {

/// Belongs to the loop from call to callback; the handle is forgotten when it goes.
struct PoolWork::Request {
  uv_work_t request{};
  Reactor& reactor;
  Reactor::Account account;
  std::function<void()> work;
  std::function<void(Result<void>)> done;
  PoolWork* owner = nullptr;
  std::optional<std::string> thrown;

  Request(Reactor& on, std::function<void()> what, std::function<void(Result<void>)> then)
      : reactor(on), account(on.charged()), work(std::move(what)), done(std::move(then)) {
    request.data = this;
  }
  void run() noexcept;
  void finish(int status);
};

/// In a thread of the pool: nothing may leave it.
void PoolWork::Request::run() noexcept {
  try {
    work();
  } catch (const std::exception& exception) {
    thrown = exception.what();
  } catch (...) {
    thrown = "something that is no exception";
  }
}

void PoolWork::Request::finish(int status) {
  reactor.has_ended();
  if (thrown) {
    reactor.count_exception(account);
    reactor.log().write(LogLevel::error, reactor.name_of(account), "work in the pool threw: " + *thrown);
  }
  if (owner == nullptr || status != 0) return;
  owner->request_ = nullptr;
  reactor.guarded(account, [this] {
    done(thrown ? Result<void>(Error{Fault::internal, "work in the pool threw: " + *thrown}) : Result<void>());
  });
}

void PoolWork::take(PoolWork& other) noexcept {
  request_ = std::exchange(other.request_, nullptr);
  if (request_ != nullptr) request_->owner = this;
}

void PoolWork::cancel() {
  if (request_ == nullptr) return;
  Request* request = std::exchange(request_, nullptr);
  request->owner = nullptr;
  request->done = nullptr;  // what it holds may not outlive us
  uv_cancel(reinterpret_cast<uv_req_t*>(&request->request));
}

PoolWork run_in_pool(Reactor& reactor, std::function<void()> work, std::function<void(Result<void>)> done) {
  reactor.assert_on_loop();
  auto* request = new PoolWork::Request(reactor, std::move(work), std::move(done));
  PoolWork handle;
  handle.request_ = request;
  request->owner = &handle;
  reactor.will_end();
  const int status = uv_queue_work(
      reactor.loop(), &request->request, [](uv_work_t* begun) { static_cast<PoolWork::Request*>(begun->data)->run(); },
      [](uv_work_t* ended, int result) {
        const std::unique_ptr<PoolWork::Request> finished(static_cast<PoolWork::Request*>(ended->data));
        finished->finish(result);
      });
  TAP_ASSERT(status == 0);  // libuv refuses only work that is none
  return handle;
}

}  // namespace tap::net
