// CRC-32C (Castagnoli), the checksum of iSCSI, ext4 and LevelDB.
//
// Source: RFC 3720 appendix B.4 (test vectors). Uses SSE4.2's instruction where the processor has it, else a table.
#pragma once

#include <cstdint>

#include "state/base/bytes.hpp"

namespace tap {

/// The checksum of `bytes`, going on from `previous` (0 to begin): crc32c(b, crc32c(a)) == crc32c(a + b).
[[nodiscard]] std::uint32_t crc32c(ByteView bytes, std::uint32_t previous = 0);

/// The table version, for processors without the instruction and for the test that compares the two.
[[nodiscard]] std::uint32_t crc32c_table(ByteView bytes, std::uint32_t previous = 0);

}  // namespace tap
