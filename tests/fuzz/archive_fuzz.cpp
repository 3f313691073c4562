// Whatever decode_archive() accepts can be written again, and reads back as the same value; the rest is refused with a
// reason. Half of the inputs get right checksums first, so that the code behind them is reached.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "state/archive.hpp"
#include "tests/state/archive_equal.hpp"
#include "tests/state/archive_samples.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t size_max);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tap::ByteView bytes(reinterpret_cast<const char*>(data), size);
  const auto archive = tap::state::decode_archive(bytes);
  if (!archive.ok()) {
    TAP_ASSERT(!archive.error().message.empty());
    TAP_ASSERT(archive.error().fault == tap::Fault::damaged || archive.error().fault == tap::Fault::config);
    return 0;
  }
  const tap::Bytes again = tap::state::encode_archive(*archive);
  const auto back = tap::state::decode_archive(again);
  TAP_ASSERT(back.ok());
  TAP_ASSERT(tap::tests::equal(*back, *archive));
  TAP_ASSERT(tap::state::encode_archive(*back) == again);
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t size_max,
                                               unsigned seed) {
  const std::size_t mutated = LLVMFuzzerMutate(data, size, size_max);
  if (seed % 2 == 0) return mutated;
  tap::Bytes bytes(reinterpret_cast<const char*>(data), mutated);
  tap::tests::repair_checksums(bytes);
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}
