// What the files of StreamTransport share, and nobody else needs: its libuv handle and its door to the protocol.
#pragma once

#include <uv.h>

#include <exception>
#include <string>

#include "services/net/refusal.hpp"
#include "services/net/stream.hpp"

namespace tap::net {

/// The libuv handle and the way back. After the owner has forgotten it, only the loop knows it, until it frees it.
struct StreamTransport::Box {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  StreamTransport* owner = nullptr;
};

/// The door to the protocol: what it throws ends this connection and nothing else.
template <class Code>
void StreamTransport::call_protocol(Code&& code) {
  const Reactor::Charge charge(reactor_, rules_.account);
  try {
    code();
  } catch (const Refusal&) {
    lose_connection();  // the answer to a request that cannot be told no
  } catch (const std::exception& thrown) {
    reactor_.count_exception(rules_.account);
    end_badly(std::string("the protocol threw: ") + thrown.what());
  } catch (...) {
    reactor_.count_exception(rules_.account);
    end_badly("the protocol threw something that is no exception");
  }
}

inline Error uv_failure(int status, const char* what) {
  return Error{Fault::internal, std::string(what) + ": " + uv_strerror(status)};
}

}  // namespace tap::net
