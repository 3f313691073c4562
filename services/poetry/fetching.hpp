// Fetching: the client's side of the poetry protocol. What the server sends until it ends is the poem.
//
// Only an end in order is an end: a reset, a silence, too many bytes are errors, and what came before is dropped.
// Over TLS the end has to be signed (close_notify).
//
// Tests: tests/services/poetry/proxy_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "services/net/deferred.hpp"
#include "services/net/protocol.hpp"
#include "services/net/reactor.hpp"

namespace tap::services {

/// Thread: the loop's. Nobody waiting any more, the connection is reset.
class Fetching final : public net::Protocol {
 public:
  struct Limits {
    std::size_t bytes_max;
    std::uint64_t silence_ms_max;
  };

  Fetching(net::Reactor& reactor, Limits limits, net::DeferredSource<std::string> answer);

  void connection_made() override;
  void data_received(std::string_view data) override;
  void end_received() override;
  void connection_lost(const Error& reason) override;
  [[nodiscard]] std::size_t buffered_bytes() const override { return poem_.capacity(); }

 private:
  void wait();
  void fail(Error why);

  net::Reactor& reactor_;
  Limits limits_;
  net::DeferredSource<std::string> answer_;
  std::string poem_;
  net::Timer silence_;
};

}  // namespace tap::services
