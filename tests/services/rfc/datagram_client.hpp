// A client of a service that speaks datagrams, without a socket.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "services/service.hpp"
#include "services/testing/string_datagrams.hpp"
#include "tests/services/net/fixture.hpp"

namespace tap::tests {

/// Starts the service on a virtual loop and asks its datagram protocol.
struct DatagramClient {
  DatagramClient(Loop& loop, services::Service& service) {
    REQUIRE(service.start(loop.reactor).ok());
    protocol = service.build_datagram_protocol();
    REQUIRE(protocol != nullptr);
    protocol->attach(transport);
    protocol->start_protocol();
  }
  /// The answer; "(none)" without one, "(many)" when there are several or it goes elsewhere.
  std::string ask(std::string_view question, const std::string& host = "192.0.2.1", std::uint16_t port = 40'000) {
    const net::DatagramAddress from = net::DatagramAddress::parse(host, port).value();
    protocol->datagram_received(question, from);
    const std::vector<testing::StringDatagrams::Sent> sent = transport.take_sent();
    if (sent.empty()) return "(none)";
    return sent.size() == 1 && sent[0].to == from ? sent[0].datagram : "(many)";
  }
  testing::StringDatagrams transport;
  std::unique_ptr<net::DatagramProtocol> protocol;
};

}  // namespace tap::tests
