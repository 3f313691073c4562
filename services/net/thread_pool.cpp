#include "services/net/thread_pool.hpp"

#include <uv.h>

#include <optional>

namespace tap::net {
namespace {

/// libuv's until its callback; then it frees itself.
struct Work {
  uv_work_t request{};
  std::function<void()> code;
  std::optional<Error> error;
  Reactor* reactor = nullptr;
  DeferredSource<void> answer;
};

void run(uv_work_t* request) {
  auto* work = static_cast<Work*>(request->data);
  try {
    work->code();
  } catch (...) {
    work->error = current_exception_error();
  }
}

void finished(uv_work_t* request, int status) {
  const std::unique_ptr<Work> work(static_cast<Work*>(request->data));
  work->reactor->has_ended();
  DeferredSource<void> answer = std::move(work->answer);
  if (!answer.waited_for()) return;
  if (status != 0) answer.errback(cancelled_error());
  else if (work->error) answer.errback(std::move(*work->error));
  else answer.callback();
}

}  // namespace

Deferred<void> run_in_pool(Reactor& reactor, std::function<void()> work) {
  reactor.assert_on_loop();
  auto* queued = new Work;
  queued->request.data = queued;
  queued->code = std::move(work);
  queued->reactor = &reactor;
  Deferred<void> answer = queued->answer.deferred();
  // Work that has begun cannot be stopped; uv_cancel then says no and its end is heard all the same.
  queued->answer.on_cancel([queued] { uv_cancel(reinterpret_cast<uv_req_t*>(&queued->request)); });
  reactor.will_end();
  TAP_ASSERT(uv_queue_work(reactor.loop(), &queued->request, run, finished) == 0);
  return answer;
}

}  // namespace tap::net
