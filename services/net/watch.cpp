#include "services/net/watch.hpp"

#include <uv.h>

#include "state/base/assert.hpp"

namespace tap::net {

struct Watch::Box {
  uv_poll_t poll{};
  Watch* owner = nullptr;
};

Watch::Watch(Reactor& reactor, int fd, std::function<void()> ready, For what)
    : box_(new Box), ready_(std::move(ready)) {
  box_->owner = this;
  box_->poll.data = box_;
  TAP_ASSERT(uv_poll_init(reactor.loop(), &box_->poll, fd) == 0);
  TAP_ASSERT(
      uv_poll_start(&box_->poll, what == For::readable ? UV_READABLE : UV_WRITABLE, [](uv_poll_t* poll, int, int) {
        const Watch* owner = static_cast<Box*>(poll->data)->owner;
        if (owner != nullptr) owner->ready_();
      }) == 0);
}

Watch::~Watch() {
  box_->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&box_->poll),
           [](uv_handle_t* handle) { delete static_cast<Box*>(handle->data); });
}

}  // namespace tap::net
