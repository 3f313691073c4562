// http_peer: HttpPeer as a program, for measuring it beside other servers. Prints its port.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdio>
#include <optional>

#include "services/net/bind.hpp"
#include "services/net/endpoint.hpp"
#include "services/net/listener.hpp"
#include "services/net/reactor.hpp"
#include "services/testing/recording_log.hpp"
#include "tests/services/net/http/peer.hpp"

int main() {
  using namespace tap;
  std::signal(SIGPIPE, SIG_IGN);
  testing::RecordingLog log;
  net::Reactor reactor(log);
  tests::HttpPeer peer(reactor);
  const Result<net::Endpoint> endpoint = net::parse_endpoint("tcp:0:interface=127.0.0.1");
  if (!endpoint) return endpoint.error().exit_code();
  Result<net::BoundEndpoint> bound = net::bind_endpoint(*endpoint, std::nullopt);
  if (!bound) return bound.error().exit_code();
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (::getsockname(bound->fd.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) return 1;
  net::Listener listener(reactor, peer, "peer", {});
  if (!listener.listen(std::move(bound->fd), net::StreamKind::tcp, endpoint->backlog)) return 1;
  std::printf("%u\n", unsigned{ntohs(address.sin_port)});
  std::fflush(stdout);
  reactor.run();
}
