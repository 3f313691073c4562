#include "services/net/http/body_writer.hpp"

#include <array>
#include <charconv>

namespace tap::net {

void append_decimal(std::string& out, std::uint64_t number) {
  std::array<char, 24> digits{};
  const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

void HttpBodyWriter::begin(Form form, std::uint64_t length, bool counted_only) {
  form_ = form;
  left_bytes_ = length;
  counted_only_ = counted_only;
}

const char* HttpBodyWriter::write(Transport& transport, std::string_view bytes) {
  if (bytes.empty() || (counted_only_ && form_ != Form::length)) return nullptr;
  if (form_ == Form::none) return "there is a body where none was announced";
  if (form_ == Form::length) {
    if (bytes.size() > left_bytes_) return "the body is longer than it was announced";
    left_bytes_ -= bytes.size();
  }
  if (counted_only_) return nullptr;
  if (form_ != Form::chunked) {
    transport.write(bytes);
    return nullptr;
  }
  constexpr int kHexadecimal = 16;
  std::array<char, 20> line{};
  char* end = std::to_chars(line.data(), line.data() + line.size(), bytes.size(), kHexadecimal).ptr;
  *end++ = '\r';
  *end++ = '\n';
  transport.write({line.data(), static_cast<std::size_t>(end - line.data())});
  transport.write(bytes);
  transport.write("\r\n");
  return nullptr;
}

Result<std::size_t> HttpBodyWriter::write_file(Transport& transport, int file, std::uint64_t offset,
                                               std::size_t bytes) {
  TAP_ASSERT(form_ == Form::length && bytes <= left_bytes_);
  Result<std::size_t> taken = counted_only_ ? Result<std::size_t>(bytes) : transport.write_file(file, offset, bytes);
  if (taken) left_bytes_ -= *taken;
  return taken;
}

const char* HttpBodyWriter::end(Transport& transport) const {
  if (counted_only_) return nullptr;
  if (form_ == Form::length && left_bytes_ != 0) return "the body is shorter than it was announced";
  if (form_ == Form::chunked) transport.write("0\r\n\r\n");
  return nullptr;
}

}  // namespace tap::net
