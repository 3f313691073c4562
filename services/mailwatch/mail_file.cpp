#include "services/mailwatch/mail_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "services/units.hpp"
#include "state/base/fd.hpp"

namespace tap::services {

Result<std::string> read_mail(const std::string& path) {
  // Without O_NONBLOCK the opening of a pipe would wait for its writer.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.open()) {
    const Fault fault = errno == ENOENT || errno == ENOTDIR ? Fault::no_input
                        : errno == EACCES                   ? Fault::permission
                                                            : Fault::internal;
    return errno_error(fault, "opening " + path);
  }
  struct stat about {};
  if (::fstat(fd.get(), &about) != 0) return errno_error(Fault::internal, "looking at " + path);
  if (!S_ISREG(about.st_mode)) return Error{Fault::internal, path + " is not a file"};
  std::string mail(kMailBytesMax + 1, '\0');
  std::size_t have = 0;
  while (have < mail.size()) {
    const ssize_t got = ::read(fd.get(), mail.data() + have, mail.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(Fault::internal, "reading " + path);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  if (have > kMailBytesMax) return Error{Fault::internal, path + " is larger than " + size_text(kMailBytesMax)};
  mail.resize(have);
  mail.shrink_to_fit();
  return mail;
}

}  // namespace tap::services
