// Reciter: a protocol that tells a poem and ends; what the client says is not looked at.
//
// The poetry protocol has no length: the end of the stream is the end of the poem. So a poem that is not told to its
// end is ended by a reset, whatever the reason, and a client never takes it for whole.
//
// Tests: tests/services/poetry/poetry_test.cpp, proxy_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "services/net/deferred.hpp"
#include "services/net/protocol.hpp"

namespace tap::services {

/// Of all clients of a service.
struct Recitals {
  std::uint64_t now = 0;    ///< clients
  std::uint64_t whole = 0;  ///< got all of it
  std::uint64_t cut = 0;    ///< were reset by us
  std::uint64_t left = 0;   ///< did not wait for the end

  [[nodiscard]] std::string text() const;
};

/// Lifetime: the counters outlive it.
class Reciter : public net::Protocol {
 public:
  /// A piece that is written at once; with the transport's write buffer (64 KiB) a client holds two at most.
  static constexpr std::size_t kPieceBytes = std::size_t{64} << 10U;

  explicit Reciter(Recitals& recitals) : recitals_(recitals) {}

  void connection_made() final;
  void data_received(std::string_view /*data*/) final {}
  /// It may have nothing to say and listen all the same: `nc -N`.
  void end_received() final {}
  void output_drained() final;
  void connection_lost(const Error& reason) override;

 protected:
  /// Tells it, and says finish() or cut(). Dropped with the connection.
  [[nodiscard]] virtual net::Deferred<void> recite() = 0;
  /// There is room again in the transport, which has said that it is congested().
  virtual void has_room();

  /// Until there is room. REQUIRES: congested(); has_room() is not overridden.
  [[nodiscard]] net::Deferred<void> room();
  /// Lifetime: of `text`: until the answer.
  [[nodiscard]] net::Deferred<void> write_all(std::string_view text);
  void finish();
  /// With `why` it is said in the log.
  void cut(std::string_view why = {});
  /// Neither finished nor cut.
  [[nodiscard]] bool reciting() const { return !over_ && !transport().ending(); }

 private:
  Recitals& recitals_;
  std::optional<net::DeferredSource<void>> room_;
  bool over_ = false;
  net::Deferred<void> reciting_;
};

}  // namespace tap::services
