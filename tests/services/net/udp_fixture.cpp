#include "tests/services/net/udp_fixture.hpp"

#include <sys/socket.h>

#include "services/net/address.hpp"
#include "state/base/assert.hpp"

namespace tap::tests {

UdpPeer::UdpPeer(const std::string& host) {
  Result<net::DatagramAddress> local = net::DatagramAddress::parse(host, 0);
  TAP_ASSERT(local.ok());
  const int family = local->is_v6() ? AF_INET6 : AF_INET;
  fd_.reset(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  TAP_ASSERT(::bind(fd_.get(), local->raw(), local->raw_size()) == 0);
  port_ = net::local_port(fd_.get());
}

bool UdpPeer::send_to(std::uint16_t port, std::string_view datagram, const std::string& host) {
  Result<net::DatagramAddress> to = net::DatagramAddress::parse(host, port);
  TAP_ASSERT(to.ok());
  return ::sendto(fd_.get(), datagram.data(), datagram.size(), 0, to->raw(), to->raw_size()) ==
         static_cast<ssize_t>(datagram.size());
}

std::optional<std::string> UdpPeer::receive() {
  std::string bytes(std::size_t{64} * 1024, '\0');
  sockaddr_in6 from{};
  socklen_t size = sizeof from;
  const ssize_t got = ::recvfrom(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
  if (got < 0) return std::nullopt;
  bytes.resize(static_cast<std::size_t>(got));
  sender_ = net::DatagramAddress(reinterpret_cast<const sockaddr*>(&from));
  return bytes;
}

net::BoundEndpoint bind_udp_endpoint(const std::string& endpoint) {
  Result<net::Endpoint> parsed = net::parse_endpoint(endpoint);
  TAP_ASSERT(parsed.ok());
  Result<net::BoundEndpoint> bound = net::bind_endpoint(*parsed, std::nullopt);
  TAP_ASSERT(bound.ok());
  return std::move(bound).value();
}

UdpServer::UdpServer(Loop& loop_of, const DatagramScript& with, net::Gate* gate, const std::string& endpoint)
    : loop(loop_of), script(with) {
  net::BoundEndpoint bound = bind_udp_endpoint(endpoint);
  port = net::local_port(bound.fd.get());
  ports.push_back(port);
  transport = std::make_unique<net::UdpTransport>(loop.reactor, "served", std::make_unique<ScriptedDatagrams>(script),
                                                  ports, gate);
  TAP_ASSERT(transport->open(std::move(bound.fd)).ok());
}

DatagramScript udp_echo() {
  DatagramScript script;
  script.received = [](net::DatagramTransport& transport, std::string_view datagram, const net::DatagramAddress& from) {
    transport.write(datagram, from);
  };
  return script;
}

std::string ask_udp(Loop& loop, UdpPeer& peer, std::uint16_t port, std::string_view question, const std::string& host) {
  TAP_ASSERT(peer.send_to(port, question, host));
  std::optional<std::string> answer;
  const bool came = loop.turn_until([&] { return (answer = peer.receive()).has_value(); });
  return came ? *answer : "(none)";
}

}  // namespace tap::tests
