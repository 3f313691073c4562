#include "services/net/protocol.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace tap::net {

Result<std::size_t> Transport::write_file(int file, std::uint64_t offset, std::size_t bytes) {
  std::array<char, kFilePieceBytes> piece;  // NOLINT: filled by pread
  std::size_t taken = 0;
  while (taken < bytes && !ending() && !congested()) {
    const ssize_t got =
        ::pread(file, piece.data(), std::min(bytes - taken, piece.size()), static_cast<off_t>(offset + taken));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(Fault::internal, "reading the file");
    if (got == 0) return Error{Fault::damaged, "the file has become shorter"};
    write({piece.data(), static_cast<std::size_t>(got)});
    taken += static_cast<std::size_t>(got);
  }
  return taken;
}

}  // namespace tap::net
