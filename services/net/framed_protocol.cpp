#include "services/net/framed_protocol.hpp"

#include <array>
#include <utility>

namespace tap::net {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

void FramedProtocol::data_received(std::string_view data) {
  if (waiting_.empty()) {
    waiting_ = consume(data);
    tell_request();
    return;
  }
  waiting_.append(data);
  go_on();
}

void FramedProtocol::end_received() {
  peer_ended_ = true;
  go_on();
}

void FramedProtocol::output_drained() { go_on(); }

bool FramedProtocol::owes_answer() const { return first_frame(waiting_).bytes != 0; }

/// Answers the strings in `data` and returns what is left of it.
std::string_view FramedProtocol::consume(std::string_view data) {
  while (!transport().ending()) {
    if (data.empty() || transport().congested()) return data;
    const Frame frame = first_frame(data);
    if (!frame.wrong.empty()) {
      transport().fail(frame.wrong);
      break;
    }
    if (frame.bytes == 0) return data;
    if (std::exchange(request_open_, false)) transport().request_ends();
    data.remove_prefix(frame.bytes);
    string_received(frame.string);
  }
  return {};
}

void FramedProtocol::go_on() {
  const std::size_t left = consume(waiting_).size();
  waiting_.erase(0, waiting_.size() - left);
  if (waiting_.empty()) waiting_.shrink_to_fit();
  tell_request();
  if (peer_ended_ && !owes_answer()) transport().lose_connection();
}

/// A string that has begun has a deadline, until its end comes. What waits because the peer does not read has none.
void FramedProtocol::tell_request() {
  if (waiting_.empty() || request_open_ || owes_answer() || transport().ending()) return;
  request_open_ = true;
  transport().request_begins();
}

std::size_t FramedProtocol::buffered_bytes() const {
  return waiting_.capacity() > std::string().capacity() ? waiting_.capacity() : 0;
}

FramedProtocol::Frame FramedProtocol::too_long() const {
  return {0, {}, "a string is longer than " + std::to_string(string_bytes_max_) + " bytes"};
}

FramedProtocol::Frame NetstringProtocol::first_frame(std::string_view data) const {
  std::uint64_t length = 0;
  std::size_t at = 0;
  for (; at < data.size() && is_digit(data[at]); ++at) {
    if (at > 0 && length == 0) return {0, {}, "a netstring's length begins with a zero"};
    length = length * 10 + static_cast<std::uint64_t>(data[at] - '0');
    if (length > string_bytes_max()) return too_long();  // before it can overflow
  }
  if (at == data.size()) return {};
  if (at == 0 || data[at] != ':') return {0, {}, "a netstring's length is not a number and a colon"};
  const std::size_t begin = at + 1;
  const auto size = static_cast<std::size_t>(length);
  if (data.size() - begin <= size) return {};
  if (data[begin + size] != ',') return {0, {}, "a netstring does not end in a comma"};
  return {begin + size + 1, data.substr(begin, size), {}};
}

void NetstringProtocol::send_string(std::string_view string) {
  transport().write(std::to_string(string.size()) + ':');
  transport().write(string);
  transport().write(",");
}

FramedProtocol::Frame IntPrefixedProtocol::first_frame(std::string_view data) const {
  if (data.size() < prefix_bytes_) return {};
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < prefix_bytes_; ++i) length = length << 8U | static_cast<unsigned char>(data[i]);
  if (length > string_bytes_max()) return too_long();
  const auto size = static_cast<std::size_t>(length);
  if (data.size() - prefix_bytes_ < size) return {};
  return {prefix_bytes_ + size, data.substr(prefix_bytes_, size), {}};
}

Result<void> IntPrefixedProtocol::send_string(std::string_view string) {
  const std::uint64_t size = string.size();
  if (size >> (8 * prefix_bytes_) != 0) {
    return Error{Fault::usage, "a string of " + std::to_string(size) + " bytes does not fit behind a length of " +
                                   std::to_string(8 * prefix_bytes_) + " bits"};
  }
  std::array<char, sizeof(std::uint64_t)> prefix{};
  for (std::size_t i = 0; i < prefix_bytes_; ++i) {
    prefix[i] = static_cast<char>(static_cast<unsigned char>(size >> (8 * (prefix_bytes_ - 1 - i))));
  }
  transport().write({prefix.data(), prefix_bytes_});
  transport().write(string);
  return {};
}

}  // namespace tap::net
