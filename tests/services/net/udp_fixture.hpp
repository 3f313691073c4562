// What the tests of datagrams share: a peer that never blocks, a protocol made of lambdas, a port with both.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/udp.hpp"
#include "tests/services/net/fixture.hpp"

namespace tap::tests {

/// The other end: a UDP socket on a free port of an address.
class UdpPeer {
 public:
  explicit UdpPeer(const std::string& host = "127.0.0.1");

  /// False when the kernel did not take it.
  bool send_to(std::uint16_t port, std::string_view datagram, const std::string& host = "127.0.0.1");
  /// What has come, one datagram; nullopt: nothing has.
  [[nodiscard]] std::optional<std::string> receive();
  /// Who sent what receive() gave last.
  [[nodiscard]] const net::DatagramAddress& sender() const { return sender_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Fd fd_;
  std::uint16_t port_ = 0;
  net::DatagramAddress sender_;
};

/// What a ScriptedDatagrams does when it is called.
struct DatagramScript {
  std::function<void(net::DatagramTransport&)> started;
  std::function<void(net::DatagramTransport&, std::string_view, const net::DatagramAddress&)> received;
  std::function<void(net::DatagramTransport&)> stopped;
};

class ScriptedDatagrams final : public net::DatagramProtocol {
 public:
  explicit ScriptedDatagrams(const DatagramScript& script) : script_(script) {}

  void start_protocol() override {
    if (script_.started) script_.started(transport());
  }
  void datagram_received(std::string_view datagram, const net::DatagramAddress& from) override {
    if (script_.received) script_.received(transport(), datagram, from);
  }
  void stop_protocol() override {
    if (script_.stopped) script_.stopped(transport());
  }

 private:
  const DatagramScript& script_;
};

/// An endpoint's socket. REQUIRES: it can be bound.
[[nodiscard]] net::BoundEndpoint bind_udp_endpoint(const std::string& endpoint);

/// An open port whose protocol does what the test says.
struct UdpServer {
  UdpServer(Loop& loop_of, const DatagramScript& with, net::Gate* gate = nullptr,
            const std::string& endpoint = "udp:0:interface=127.0.0.1");

  Loop& loop;
  DatagramScript script;
  std::uint16_t port = 0;
  std::vector<std::uint16_t> ports;
  std::unique_ptr<net::UdpTransport> transport;
};

/// Sends back what it receives.
[[nodiscard]] DatagramScript udp_echo();

/// Asks once, turning the loop until the answer is there; "(none)" without one.
[[nodiscard]] std::string ask_udp(Loop& loop, UdpPeer& peer, std::uint16_t port, std::string_view question,
                                  const std::string& host = "127.0.0.1");

}  // namespace tap::tests
