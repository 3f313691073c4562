// What the fuzz targets of netstrings and length prefixes share: however the input is cut, the same strings come out.
#pragma once

#include <cstddef>
#include <string>

#include "services/net/framed_protocol.hpp"
#include "services/testing/string_transport.hpp"

namespace tap::tests {

inline constexpr std::size_t kFuzzStringBytesMax = 300;

/// Keeps what it hears. `Base`: the protocol that is tried.
template <class Base>
class RecordingStrings final : public Base {
 public:
  using Base::Base;
  std::string heard;

 private:
  void string_received(std::string_view string) override {
    TAP_ASSERT(string.size() <= kFuzzStringBytesMax);
    heard.append("[").append(string).append("]");
  }
};

template <class Base, class... Args>
[[nodiscard]] std::string heard_strings(std::string_view input, std::size_t step, Args... args) {
  testing::StringTransport transport;
  RecordingStrings<Base> protocol(args...);
  protocol.attach(transport);
  for (std::size_t at = 0; at < input.size() && !transport.ending(); at += step) {
    protocol.data_received(input.substr(at, step));
  }
  return protocol.heard + (transport.aborted() ? "!" + transport.failure() : "");
}

}  // namespace tap::tests
