// Whatever the codec accepts as a state can be written again, and reads back as the same state.
#include <cstddef>
#include <cstdint>

#include "tests/state/everything.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using tap::tests::Everything;
  const auto& codec = tap::tests::everything_codec();
  Everything value;
  if (!codec.decode({reinterpret_cast<const char*>(data), size}, Everything::kSchemaVersion, value).ok()) return 0;
  const auto payload = codec.encode(value);
  TAP_ASSERT(payload.ok());
  Everything back;
  TAP_ASSERT(codec.decode(*payload, Everything::kSchemaVersion, back).ok());
  const auto again = codec.encode(back);
  TAP_ASSERT(again.ok());
  // By their bytes, because what is not a number equals nothing.
  TAP_ASSERT(tap::tests::has_unordered(value) || *again == *payload);
  return 0;
}
