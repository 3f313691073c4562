// Responses are understood the same however they are cut.
// Flag 1: the end of the input is the end of the connection; flag 2: they answer HEAD.
#include "tests/fuzz/http_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tap::tests;
  compare_cuts(data, size, [&](std::string_view bytes, const std::vector<std::size_t>& cuts) {
    return response_transcript(bytes, cuts, (data[0] & 1U) != 0, (data[0] & 2U) != 0, fuzz_limits());
  });
  return 0;
}
