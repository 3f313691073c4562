#include "services/net/resolve.hpp"

#include <netdb.h>
#include <uv.h>

#include <cstring>
#include <memory>

namespace tap::net {

/// The loop's from call to callback.
struct Resolving::Request {
  uv_getaddrinfo_t request{};
  Resolving* owner = nullptr;
  Reactor* reactor = nullptr;
};

namespace {

std::vector<SocketAddress> addresses_of(const addrinfo* first) {
  std::vector<SocketAddress> all;
  for (const addrinfo* info = first; info != nullptr; info = info->ai_next) {
    if (info->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketAddress address;
    std::memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    address.length = info->ai_addrlen;
    all.push_back(address);
  }
  return all;
}

}  // namespace

Resolving::Resolving(Reactor& reactor, std::string host, std::uint16_t port, Done done)
    : reactor_(reactor), host_(std::move(host)), port_(port), done_(std::move(done)) {
  const std::optional<SocketAddress> numeric = SocketAddress::numeric(host_, port_);
  at_once_ = reactor_.call_later(0, [this, numeric] {
    if (numeric) answer(std::vector<SocketAddress>{*numeric});
    else ask();
  });
}

Resolving::~Resolving() {
  if (request_ == nullptr) return;
  request_->owner = nullptr;
  (void)uv_cancel(reinterpret_cast<uv_req_t*>(&request_->request));
}

void Resolving::ask() {
  request_ = new Request;
  request_->owner = this;
  request_->reactor = &reactor_;
  request_->request.data = request_;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  const int status = uv_getaddrinfo(
      reactor_.loop(), &request_->request,
      [](uv_getaddrinfo_t* request, int result, addrinfo* found) {
        const std::unique_ptr<Request> done(static_cast<Request*>(request->data));
        const std::unique_ptr<addrinfo, decltype(&uv_freeaddrinfo)> addresses(found, uv_freeaddrinfo);
        done->reactor->has_ended();
        Resolving* owner = done->owner;
        if (owner == nullptr) return;
        owner->request_ = nullptr;
        if (result == 0) owner->answer(addresses_of(addresses.get()));
        else
          owner->answer(Error{result == UV_EAI_AGAIN ? Fault::temporary : Fault::unavailable,
                              "the name '" + owner->host_ + "' cannot be resolved: " + uv_strerror(result)});
      },
      host_.c_str(), std::to_string(port_).c_str(), &hints);
  if (status == 0) {
    reactor_.will_end();
    return;
  }
  delete std::exchange(request_, nullptr);
  answer(Error{Fault::unavailable, "the name '" + host_ + "' cannot be resolved: " + uv_strerror(status)});
}

void Resolving::answer(Result<std::vector<SocketAddress>> result) {
  const Done done = std::move(done_);
  if (result && result->empty()) result = Error{Fault::unavailable, "the name '" + host_ + "' has no address"};
  reactor_.guarded("resolver", [&] { done(std::move(result)); });
}

}  // namespace tap::net
