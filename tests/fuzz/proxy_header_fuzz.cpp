// However the bytes before a connection are cut, they are the same header, or wrong for the same reason.
#include <cstddef>
#include <cstdint>

#include "services/net/proxy_header.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = tap::net::parse_proxy_header(bytes);
  // Byte by byte: the first that decides, decides.
  for (std::size_t cut = 0; cut <= size; ++cut) {
    const auto part = tap::net::parse_proxy_header(bytes.substr(0, cut));
    if (part.ok() && !part->has_value()) continue;
    TAP_ASSERT(part.ok() == whole.ok());
    if (!part.ok()) return 0;
    TAP_ASSERT((*part)->size == cut && (*whole)->size == cut);
    TAP_ASSERT((*part)->source == (*whole)->source);
    TAP_ASSERT(cut <= tap::net::ProxyHeader::kVersion2BytesMax);
    return 0;
  }
  TAP_ASSERT(whole.ok() && !whole->has_value());
  TAP_ASSERT(size < tap::net::ProxyHeader::kVersion2BytesMax);
  return 0;
}
