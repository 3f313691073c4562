// What may be asked of a stream beyond moving bytes: rates, deadlines, a share of the memory.
//
// Most connections ask for none of it, and an idle one shall cost little: what is the same for all stands once with
// their owner (StreamRules), what is one connection's own is made when it is first needed (StreamPolicy).
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>

#include "services/net/peer_table.hpp"
#include "services/net/reactor.hpp"
#include "services/net/token_bucket.hpp"

namespace tap::net {

class MemoryBudget;
class StreamTransport;

/// Above this much unsent output reading pauses; at a quarter of it, it goes on.
inline constexpr std::size_t kWriteBufferBytes = std::size_t{64} * 1024;

/// The same for all streams of an owner. Lifetime: of the owner; what it points at outlives that.
struct StreamRules {
  std::size_t write_buffer_bytes = kWriteBufferBytes;
  std::uint64_t read_rate = 0;        ///< bytes a second of each connection; 0: as fast as they come
  TokenBucket* read_total = nullptr;  ///< of all connections together; nullptr: as fast as they come
  MemoryBudget* budget = nullptr;     ///< nullptr: nobody counts
  bool clean_end = false;             ///< the socket has come with a linger of zero
  Reactor::Account account = 0;       ///< whose code the protocols are

  [[nodiscard]] bool rated() const { return read_rate != 0 || read_total != nullptr; }
};

/// One connection's own.
struct StreamPolicy {
  TokenBucket reads;
  Timer reading_again;
  std::optional<PeerKey> peer;  ///< counted in its owner's table

  using Place = std::list<StreamTransport*>::iterator;
  // The owner's, see stream_deadlines.hpp.
  std::optional<Place> among_requests;
  std::uint64_t request_due_ms = 0;
  std::optional<Place> among_readers;
  std::uint64_t progress_ms = 0;
  std::uint64_t taken_bytes = 0;
  int kernel_unsent = 0;
};

}  // namespace tap::net
