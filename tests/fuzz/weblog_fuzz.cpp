// However a log grows, the same hits are found in it, and what is told of them is well-formed XML.
//
// The input: one byte that says in which steps the log grows, then the log.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "services/weblog/hit.hpp"
#include "services/weblog/log_file.hpp"
#include "state/base/assert.hpp"

namespace {

using namespace tap::services::weblog;

HitBatch read_log(std::string_view log, std::size_t step) {
  LogFile file;
  file.fd = std::make_shared<const tap::Fd>(::memfd_create("log", MFD_CLOEXEC));
  HitBatch batch;
  for (std::size_t at = 0; at < log.size(); at += step) {
    const std::string_view piece = log.substr(at, step);
    TAP_ASSERT(::write(file.fd->get(), piece.data(), piece.size()) == static_cast<ssize_t>(piece.size()));
    bool at_end = false;
    while (!at_end) {
      std::size_t bytes_max = kLineBytesMax;
      const tap::Result<bool> read = file.read(batch, bytes_max, 3);
      TAP_ASSERT(read.ok());
      at_end = *read;
    }
    TAP_ASSERT(!file.cut());
  }
  TAP_ASSERT(batch.lines.size() <= 3);
  return batch;
}

/// A UTF-8 character that XML may hold, or an entity, or a byte of ASCII; 0: neither. `quote` may not stand here.
std::size_t character(std::string_view text, char quote) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first == '&') {
    for (const std::string_view entity : {"&amp;", "&lt;", "&gt;", "&quot;", "&#9;", "&#10;", "&#13;"}) {
      if (text.substr(0, entity.size()) == entity) return entity.size();
    }
    return 0;
  }
  if (first < 0x80) return first >= 0x20 && first != '<' && text[0] != quote ? 1 : 0;
  const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  for (std::size_t i = 1; i < bytes; ++i) {
    if (i >= text.size() || (static_cast<unsigned char>(text[i]) & 0xc0U) != 0x80U) return 0;
  }
  return bytes;
}

void check_hit(std::string_view xml) {
  const auto take = [&xml](std::string_view wanted) {
    TAP_ASSERT(xml.substr(0, wanted.size()) == wanted);
    xml.remove_prefix(wanted.size());
  };
  take("\n<hit");
  for (const std::string_view name : {"ip", "timestamp", "request", "status", "bytes", "referrer", "agent"}) {
    take(" \n  ");
    take(name);
    take("=");
    TAP_ASSERT(!xml.empty() && (xml[0] == '"' || xml[0] == '\''));
    const char quote = xml[0];
    xml.remove_prefix(1);
    while (!xml.empty() && xml[0] != quote) {
      const std::size_t bytes = character(xml, quote);
      TAP_ASSERT(bytes != 0);
      xml.remove_prefix(bytes);
    }
    TAP_ASSERT(!xml.empty());
    xml.remove_prefix(1);
  }
  take("/>");
  TAP_ASSERT(xml.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view log(reinterpret_cast<const char*>(data) + 1, size - 1);
  const HitBatch whole = read_log(log, log.size() + 1);
  const HitBatch pieces = read_log(log, std::size_t{data[0]} + 1);
  TAP_ASSERT(whole.xml == pieces.xml && whole.ends == pieces.ends && whole.lines == pieces.lines);
  TAP_ASSERT(whole.malformed == pieces.malformed);
  std::size_t begin = 0;
  for (const std::size_t end : whole.ends) {
    TAP_ASSERT(end - begin <= kHitBytesMax);
    check_hit(std::string_view(whole.xml).substr(begin, end - begin));
    begin = end;
  }
  return 0;
}
