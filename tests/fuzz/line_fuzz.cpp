// Lines and raw bytes come out the same however the input is cut, and nothing outlives the limits.
//
// The input: one byte that says where it is cut (every N+1 bytes), then what the peer sends. A line "r" switches to raw
// mode; the raw byte '.' switches back.
#include <cstddef>
#include <cstdint>
#include <string>

#include "services/net/line_protocol.hpp"
#include "services/testing/string_transport.hpp"

namespace {

constexpr std::size_t kTriedBytesMax = 32;

class Recording final : public tap::net::LineProtocol {
 public:
  Recording() : LineProtocol(kTriedBytesMax) {}
  std::string heard;

 private:
  void line_received(std::string_view line) override {
    TAP_ASSERT(line.size() <= kTriedBytesMax && line.find('\n') == std::string_view::npos);
    heard.append("[").append(line).append("]");
    if (line == "r") set_raw_mode();
  }
  void raw_received(std::string_view bytes) override {
    TAP_ASSERT(!bytes.empty());
    const std::size_t end = bytes.find('.');
    heard += bytes.substr(0, end);
    if (end != std::string_view::npos) set_line_mode(bytes.substr(end + 1));
  }
};

std::string heard(std::string_view input, std::size_t step) {
  tap::testing::StringTransport transport;
  Recording protocol;
  protocol.attach(transport);
  for (std::size_t at = 0; at < input.size() && !transport.ending(); at += step) {
    protocol.data_received(input.substr(at, step));
  }
  return protocol.heard + (transport.aborted() ? "!" + transport.failure() : "");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  TAP_ASSERT(heard(input, std::size_t{data[0]} + 1) == heard(input, input.size() + 1));
  return 0;
}
