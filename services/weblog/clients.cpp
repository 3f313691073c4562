#include "services/weblog/clients.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace tap::services::weblog {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{32} * 1024;

}  // namespace

// --- all of them --------------------------------------------------------------------------------------------------

std::unique_ptr<net::Protocol> Clients::make() { return std::make_unique<Client>(*this); }

std::uint64_t Clients::oldest_kept() const {
  const std::uint64_t end = backlog_.end();
  return std::max(backlog_.begin(), end - std::min(end, keep_));
}

void Clients::add(std::string xml, std::vector<std::uint32_t> ends) {
  backlog_.append(std::move(xml), std::move(ends));
  const std::uint64_t kept = oldest_kept();
  std::uint64_t needed = kept;
  for (const Client* client : clients_) needed = std::min(needed, client->position());
  backlog_.trim(needed, kept, backlog_bytes_max_);
  if (backlog_.begin() <= needed) return;
  for (auto client = clients_.begin(); client != clients_.end();) {
    if (!(*client++)->end_if_behind()) continue;
    ++too_slow_;
  }
}

void Clients::push() {
  for (Client* client : clients_) client->push();
}

// --- one of them --------------------------------------------------------------------------------------------------

void Client::connection_made() {
  of_.clients_.insert(this);
  position_ = target_ = of_.oldest_kept();
  transport().write("<hits>");
}

void Client::connection_lost(const Error& /*reason*/) {
  ended_ = true;
  of_.clients_.erase(this);
}

/// A newline ends a request, and so does the end of what was read; only a newline that ends what was
/// answered already is no request.
void Client::data_received(std::string_view data) {
  if (!of_.pull() || finishing_) return;
  const std::uint64_t before = owed_;
  if (std::exchange(inside_, false)) {
    if (data.front() == '\r') data.remove_prefix(1);
    if (!data.empty() && data.front() == '\n') data.remove_prefix(1);
  }
  owed_ += static_cast<std::uint64_t>(std::count(data.begin(), data.end(), '\n'));
  if (!data.empty() && data.back() != '\n') {
    inside_ = true;
    ++owed_;
  }
  of_.requests_ += owed_ - before;
  send();
}

void Client::push() {
  target_ = of_.backlog_.end();
  send();
}

void Client::finish() {
  if (std::exchange(finishing_, true)) return;
  if (!of_.pull()) target_ = of_.backlog_.end();
  send();
}

bool Client::end_if_behind() {
  if (ended_ || position_ >= of_.backlog_.begin()) return false;
  const std::uint64_t missed = of_.backlog_.begin() - position_;
  ended_ = true;
  of_.clients_.erase(this);
  transport().fail("it has not taken its hits for so long that " + std::to_string(missed) +
                   " of them are not kept any more (option backlog)");
  return true;
}

/// What is due, until the peer has enough for now; then output_drained() comes back here.
void Client::send() {
  while (!ended_ && !transport().ending() && !transport().congested()) {
    if (position_ < target_) {
      transport().write(of_.backlog_.read(position_, kPieceBytes));
    } else if (owed_ > 0) {
      --owed_;
      target_ = of_.backlog_.end();
      if (position_ == target_) transport().write("<none/>");
    } else if (finishing_) {
      ended_ = true;
      transport().write("</hits>\n");
      transport().lose_connection();
    } else {
      return;
    }
  }
}

}  // namespace tap::services::weblog
