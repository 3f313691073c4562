// DatagramProtocol, DatagramTransport: what a server of datagrams is written in, in Twisted's words.
//
// A datagram comes whole or not at all, and from anybody: its sender's address is whatever the sender has written
// there. A service that answers strangers should ask itself whom its answers could hit (services/rfc/answer_guard.hpp).
#pragma once

#include <cstdint>
#include <string_view>

#include "services/net/datagram_address.hpp"
#include "state/base/assert.hpp"

namespace tap::net {

/// One port's datagrams. Thread: the loop's. Nothing here calls back into the protocol before it returns.
class DatagramTransport {
 public:
  /// The longest there can be: 65,535 less the headers of IPv4 and UDP (RFC 768, RFC 791).
  static constexpr std::size_t kDatagramBytesMax = 65'507;

  DatagramTransport() = default;
  DatagramTransport(const DatagramTransport&) = delete;
  DatagramTransport& operator=(const DatagramTransport&) = delete;
  virtual ~DatagramTransport() = default;

  /// Sends at the end of the turn, as soon as what it may reveal is durable. What cannot be sent is dropped and
  /// counted, as on any network: a full queue, a datagram of more than kDatagramBytesMax, an address without a route.
  virtual void write(std::string_view datagram, const DatagramAddress& to) = 0;

  /// A datagram that is not answered on purpose: it is counted, and `why` said in the log with the service's name and
  /// the peer, once a while however many come (repeated_line.hpp). `why` is one of a few fixed texts.
  virtual void refuse(std::string_view why, const DatagramAddress& from) = 0;

  /// Whether this process receives datagrams on that port, here or at another endpoint: an answer to one of those could
  /// be answered again.
  [[nodiscard]] virtual bool serves_port(std::uint16_t port) const = 0;
};

/// What the datagrams of one port mean. All calls come from the loop; an exception from datagram_received() is logged
/// with the service's name and the peer, and ends that datagram only. A net::Refusal is not even logged: it is counted,
/// and the datagram has no answer.
class DatagramProtocol {
 public:
  DatagramProtocol() = default;
  DatagramProtocol(const DatagramProtocol&) = delete;
  DatagramProtocol& operator=(const DatagramProtocol&) = delete;
  virtual ~DatagramProtocol() = default;

  /// The port is open: datagrams may be sent.
  virtual void start_protocol() {}
  /// One datagram, whole; it may be empty. The view ends with the call. What was sent to everybody (a broadcast address
  /// or a multicast group) does not come here: one such question would have an answer from each host that hears it.
  virtual void datagram_received(std::string_view datagram, const DatagramAddress& from) = 0;
  /// The last call: nothing that is written now is sent.
  virtual void stop_protocol() {}

  /// Called once by whoever opened the port, before start_protocol().
  void attach(DatagramTransport& transport) { transport_ = &transport; }

 protected:
  /// REQUIRES: attached. Lifetime: until stop_protocol() returns.
  [[nodiscard]] DatagramTransport& transport() const {
    TAP_ASSERT(transport_ != nullptr);
    return *transport_;
  }

 private:
  DatagramTransport* transport_ = nullptr;
};

}  // namespace tap::net
