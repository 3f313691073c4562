// StringDatagrams: a DatagramTransport that is nothing but strings, for testing a protocol without sockets.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "services/net/datagram.hpp"

namespace tap::testing {

/// Thread: one. What the protocol sent and refused is there to be looked at.
class StringDatagrams final : public net::DatagramTransport {
 public:
  struct Sent {
    net::DatagramAddress to;
    std::string datagram;
  };

  void write(std::string_view datagram, const net::DatagramAddress& to) override {
    if (datagram.size() <= kDatagramBytesMax) sent_.push_back({to, std::string(datagram)});
  }
  void refuse(std::string_view why, const net::DatagramAddress& /*from*/) override { refusals_.emplace_back(why); }
  [[nodiscard]] bool serves_port(std::uint16_t port) const override {
    return std::find(ports_.begin(), ports_.end(), port) != ports_.end();
  }

  /// What was sent since the last call.
  [[nodiscard]] std::vector<Sent> take_sent() { return std::exchange(sent_, {}); }
  /// Why something was not answered, since the last call; one entry for each datagram.
  [[nodiscard]] std::vector<std::string> take_refusals() { return std::exchange(refusals_, {}); }
  /// Plays another port of this process.
  void add_port(std::uint16_t port) { ports_.push_back(port); }

 private:
  std::vector<Sent> sent_;
  std::vector<std::string> refusals_;
  std::vector<std::uint16_t> ports_;
};

}  // namespace tap::testing
