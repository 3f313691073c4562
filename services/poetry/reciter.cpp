#include "services/poetry/reciter.hpp"

#include <utility>

namespace tap::services {

std::string Recitals::text() const {
  return std::to_string(now) + " clients, " + std::to_string(whole) + " had the whole poem, " + std::to_string(left) +
         " left before, " + std::to_string(cut) + " were cut";
}

void Reciter::connection_made() {
  ++recitals_.now;
  transport().require_clean_end();
  reciting_ = recite();
}

void Reciter::output_drained() { has_room(); }

void Reciter::connection_lost(const Error& /*reason*/) {
  reciting_ = net::Deferred<void>();
  --recitals_.now;
  if (!over_) ++recitals_.left;
}

net::Deferred<void> Reciter::room() {
  room_.emplace();
  return room_->deferred();
}

void Reciter::has_room() {
  if (!room_) return;
  net::DeferredSource<void> waiting = std::move(*room_);
  room_.reset();
  waiting.callback();
}

net::Deferred<void> Reciter::write_all(std::string_view text) {
  while (!text.empty() && reciting()) {
    const std::string_view piece = text.substr(0, kPieceBytes);
    transport().write(piece);
    text.remove_prefix(piece.size());
    if (!transport().congested()) continue;
    const Result<void> waited = co_await room();
    if (!waited) co_return;
  }
}

void Reciter::finish() {
  if (!reciting()) return;
  over_ = true;
  ++recitals_.whole;
  transport().lose_connection();
}

void Reciter::cut(std::string_view why) {
  if (!reciting()) return;
  over_ = true;
  ++recitals_.cut;
  if (why.empty()) transport().abort_connection();
  else transport().fail(why);
}

}  // namespace tap::services
