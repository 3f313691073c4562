// Netstrings. The input: one byte that says where it is cut (every N+1 bytes), then what the peer sends.
#include <cstdint>

#include "tests/fuzz/framed_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tap::tests;
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto heard = [&](std::size_t step) {
    return heard_strings<tap::net::NetstringProtocol>(input, step, kFuzzStringBytesMax);
  };
  TAP_ASSERT(heard(std::size_t{data[0]} + 1) == heard(input.size() + 1));
  return 0;
}
