// Strings behind a binary length. The input: one byte that says where it is cut (every N+1 bytes), one that chooses the
// length's width, then what the peer sends.
#include <cstdint>

#include "tests/fuzz/framed_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tap::tests;
  using tap::net::PrefixBytes;
  if (size < 2) return 0;
  constexpr PrefixBytes kWidths[] = {PrefixBytes::one, PrefixBytes::two, PrefixBytes::four};
  const PrefixBytes width = kWidths[data[1] % 3];
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto heard = [&](std::size_t step) {
    return heard_strings<tap::net::IntPrefixedProtocol>(input, step, width, kFuzzStringBytesMax);
  };
  TAP_ASSERT(heard(std::size_t{data[0]} + 1) == heard(input.size() + 1));
  return 0;
}
