#include "services/net/line_protocol.hpp"

#include "services/net/refusal.hpp"

namespace tap::net {

void LineProtocol::data_received(std::string_view data) {
  if (waiting_.empty()) {
    waiting_ = consume(data);
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
  if (peer_ended_ && !owes_answer()) transport().lose_connection();
}

void LineProtocol::line_too_long() {
  transport().fail("a line is longer than " + std::to_string(line_bytes_max_) + " bytes");
}

void LineProtocol::raw_received(std::string_view /*bytes*/) {
  transport().fail("the protocol is in raw mode and takes no raw bytes");
}

void LineProtocol::send_line(std::string_view line) {
  transport().write(line);
  transport().write("\n");
}

}  // namespace tap::net
