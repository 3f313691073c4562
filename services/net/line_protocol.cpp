#include "services/net/line_protocol.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "services/net/refusal.hpp"

namespace tap::net {

void LineProtocol::data_received(std::string_view data) {
  if (waiting_.empty()) {
    waiting_ = consume(data);
    tell_request();
    return;
  }
  waiting_.append(data);
  go_on();
}

void LineProtocol::end_received() {
  peer_ended_ = true;
  go_on();
}

void LineProtocol::output_drained() { go_on(); }

bool LineProtocol::owes_answer() const { return raw_ ? !waiting_.empty() : waiting_.find('\n') != std::string::npos; }

void LineProtocol::set_line_mode(std::string_view rest) {
  raw_ = false;
  raw_rest_bytes_ = rest.size();
}

/// Answers the lines in `data`, hands on what is raw, and returns what is left of it.
std::string_view LineProtocol::consume(std::string_view data) {
  while (!transport().ending()) {
    if (transport().congested()) return data;
    if (raw_) {
      if (data.empty()) return {};
      raw_rest_bytes_ = 0;
      raw_received(data);
      TAP_ASSERT(raw_rest_bytes_ <= data.size());
      data.remove_prefix(data.size() - raw_rest_bytes_);
      continue;
    }
    const std::size_t end = data.find('\n');
    if ((end == std::string_view::npos ? data.size() : end) > line_bytes_max_) {
      line_too_long();
      break;
    }
    if (end == std::string_view::npos) return data;
    if (std::exchange(request_open_, false)) transport().request_ends();
    std::string_view line = data.substr(0, end);
    data.remove_prefix(end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    try {
      line_received(line);
    } catch (const Refusal& refusal) {
      send_line(std::string("ERR ") + refusal.what());
    }
  }
  return {};
}

void LineProtocol::go_on() {
  const std::size_t left = consume(waiting_).size();
  waiting_.erase(0, waiting_.size() - left);
  if (waiting_.empty()) waiting_.shrink_to_fit();
  tell_request();
  if (peer_ended_ && !owes_answer()) transport().lose_connection();
}

/// A line that has begun has a deadline, until its end comes. What waits because the peer does not read has none.
void LineProtocol::tell_request() {
  if (waiting_.empty() || request_open_ || owes_answer() || transport().ending()) return;
  request_open_ = true;
  transport().request_begins();
}

std::size_t LineProtocol::buffered_bytes() const {
  return waiting_.capacity() > std::string().capacity() ? waiting_.capacity() : 0;
}

void LineProtocol::line_too_long() {
  transport().fail("a line is longer than " + std::to_string(line_bytes_max_) + " bytes");
}

void LineProtocol::raw_received(std::string_view /*bytes*/) {
  transport().fail("the protocol is in raw mode and takes no raw bytes");
}

/// In one piece when it is short: writing costs more than copying so little.
void LineProtocol::send_line(std::string_view line) {
  constexpr std::size_t kShortBytes = 128;
  if (line.size() < kShortBytes) {
    std::array<char, kShortBytes> whole;  // NOLINT: filled below, as far as it is used
    *std::copy(line.begin(), line.end(), whole.begin()) = '\n';
    transport().write({whole.data(), line.size() + 1});
    return;
  }
  transport().write(line);
  transport().write("\n");
}

}  // namespace tap::net
