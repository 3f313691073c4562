#include "state/digest.hpp"

#include <openssl/evp.h>
#include <sys/random.h>

#include <algorithm>

namespace tap::state {

Digest sha256(ByteView bytes) {
  Digest digest;
  unsigned length = 0;
  const int done = EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.bytes.data()),
                              &length, EVP_sha256(), nullptr);
  TAP_ASSERT(done == 1 && length == digest.bytes.size());
  return digest;
}

std::string Lineage::text() const {
  std::string text = to_hex(view());
  for (const std::size_t dash : {8U, 13U, 18U, 23U}) text.insert(dash, "-");
  return text;
}

Lineage Lineage::make() {
  Lineage lineage;
  TAP_ASSERT(getrandom(lineage.bytes.data(), lineage.bytes.size(), 0) == 16);
  lineage.bytes[6] = static_cast<char>((lineage.bytes[6] & 0x0f) | 0x40);
  lineage.bytes[8] = static_cast<char>((lineage.bytes[8] & 0x3f) | 0x80);
  return lineage;
}

Result<Lineage> Lineage::parse(std::string_view text) {
  std::string digits(text);
  std::erase(digits, '-');
  Bytes raw;
  if (digits.size() != 32 || !from_hex(digits, raw)) {
    return Error{Fault::damaged, "'" + std::string(text) + "' is not a lineage (32 hexadecimal digits)"};
  }
  Lineage lineage;
  std::copy(raw.begin(), raw.end(), lineage.bytes.begin());
  return lineage;
}

}  // namespace tap::state
