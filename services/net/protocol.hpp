// Protocol, Transport, Factory: the three words of Twisted that a server is written in.
//
// A Transport moves bytes, a Protocol gives them meaning for one connection, a Factory makes the Protocols and holds
// what they share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "state/base/assert.hpp"
#include "state/base/result.hpp"

namespace tap::net {

class StreamTransport;

/// What TLS knows of a connection. Lifetime: of the connection.
struct TlsInfo {
  std::string version;       ///< "TLSv1.3"
  std::string cipher;        ///< "TLS_AES_256_GCM_SHA384"
  std::string alpn;          ///< what both chose, or empty
  std::string server_name;   ///< what the client asked for (SNI), or empty
  std::string peer_subject;  ///< of the peer's verified certificate, "CN=me,O=us" (RFC 2253); empty without one
  bool resumed = false;      ///< an earlier session goes on
};

/// One connection's bytes. Thread: the loop's. Nothing here calls back into the protocol before it returns.
class Transport {
 public:
  /// What is copied of a file at once, where it has to be copied.
  static constexpr std::size_t kFilePieceBytes = 16'384;

  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  /// Corked: the pieces of one turn leave in one system call at its end. Ignored once the connection is ending.
  virtual void write(std::string_view bytes) = 0;
  /// Sends bytes of an open file after all that was written so far, without copying them where that can be. Returns how
  /// many were taken: less than asked for, or none, when the peer does not take more now; congested() is true then, and
  /// output_drained() comes. Reading from a disk blocks: what is not in memory is better fetched by the pool before.
  /// Errors: damaged, when the file ends before that; internal, when it cannot be read.
  /// Nothing of the rest is sent then.
  [[nodiscard]] virtual Result<std::size_t> write_file(int file, std::uint64_t offset, std::size_t bytes);
  /// Ends the connection once everything written so far has been sent.
  virtual void lose_connection() = 0;
  /// Ends only our direction, once everything written so far has been sent (shutdown(2)); reading goes on.
  virtual void lose_write_connection() = 0;
  /// Ends the connection at once; what was not sent is lost and the peer sees a reset.
  virtual void abort_connection() = 0;

  /// abort_connection(), said in the log with the service's name and the peer: for a peer that breaks the rules.
  virtual void fail(std::string_view why) = 0;

  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  /// Reading goes on while the peer does not take our output. For forwarders: one direction that is stuck may not stop
  /// the other. Such a protocol stops the source of its output itself, or the connection fails for too much of it.
  virtual void read_while_congested(bool wanted) { (void)wanted; }
  /// For forwarders: what comes from now on may go to `to` without passing through this process, where both are plain
  /// sockets (splice(2)). It is told as data_forwarded(); what has to be copied is data_received() as before, and the
  /// protocol writes it to `to` itself. nullptr: no more of that. REQUIRES: called off before `to` is gone.
  virtual void forward_to(Transport* to) { (void)to; }
  /// The socket itself, when nothing lies between it and the protocol.
  [[nodiscard]] virtual StreamTransport* plain_stream() { return nullptr; }
  /// For output that does not tell its own length: from now on whatever ends the connection but lose_connection(),
  /// the death of this process too, is a reset for the peer, so that it takes nothing that was cut for whole. TCP
  /// only: a UNIX socket has no resets.
  virtual void require_clean_end() {}

  /// Whether so much is unsent that a protocol with more to answer should wait for output_drained(). (Reading pauses
  /// by itself meanwhile.)
  [[nodiscard]] virtual bool congested() = 0;
  /// Whether the connection is ending or over: nothing written now would be sent.
  [[nodiscard]] virtual bool ending() const = 0;
  /// "127.0.0.1:40123" or "unix" (standard input too): for the log.
  [[nodiscard]] virtual std::string peer() const = 0;
  /// nullptr: it is not encrypted.
  [[nodiscard]] virtual const TlsInfo* tls() const { return nullptr; }

  /// The first byte of a request has come, and more is to come: it has `request_timeout` from now on. Said again before
  /// the end, it means nothing. A transport that lies on another one passes both on.
  virtual void request_begins() {}
  /// The request has come completely.
  virtual void request_ends() {}
};

/// What one connection means. All calls come from the loop; an exception from any of them is logged with the service's
/// name and ends this connection, nothing else.
class Protocol {
 public:
  Protocol() = default;
  Protocol(const Protocol&) = delete;
  Protocol& operator=(const Protocol&) = delete;
  virtual ~Protocol() = default;

  virtual void connection_made() {}
  /// What one read delivered: any number of bytes above zero, cut anywhere. The view ends with the call.
  virtual void data_received(std::string_view data) = 0;
  /// So many bytes have gone where forward_to() said, as if data_received() had written them there.
  virtual void data_forwarded(std::size_t bytes) { (void)bytes; }
  /// The peer has sent its last byte. By default we finish sending and end too.
  virtual void end_received() { transport().lose_connection(); }
  /// After congested() was true: there is room again.
  virtual void output_drained() {}
  /// A stop ends this connection: every answer that was owed is out. What is written now is still sent, before the end.
  virtual void before_stop() {}
  /// The last call, whoever ended the connection.
  virtual void connection_lost(const Error& reason) { (void)reason; }
  /// A stop has begun: nothing more is read, what is due is still sent. A protocol that sends of its own accord says
  /// its last words here and ends; one that only answers has nothing to do.
  virtual void service_stops() {}
  /// Whether complete requests that were received still wait for their answer; a stop waits for them.
  [[nodiscard]] virtual bool owes_answer() const { return false; }

  /// The memory it holds for this connection, of what has come and what is to leave: counted in the memory budget.
  [[nodiscard]] virtual std::size_t buffered_bytes() const { return 0; }

  /// Called once by whoever made the connection, before connection_made().
  void attach(Transport& transport) { transport_ = &transport; }

 protected:
  /// REQUIRES: attached. Lifetime: until connection_lost() returns.
  [[nodiscard]] Transport& transport() const {
    TAP_ASSERT(transport_ != nullptr);
    return *transport_;
  }

 private:
  Transport* transport_ = nullptr;
};

/// Makes a Protocol for each connection. Lifetime: outlives the protocols it made.
class Factory {
 public:
  Factory() = default;
  Factory(const Factory&) = delete;
  Factory& operator=(const Factory&) = delete;
  virtual ~Factory() = default;

  [[nodiscard]] virtual std::unique_ptr<Protocol> build_protocol() = 0;
};

}  // namespace tap::net
