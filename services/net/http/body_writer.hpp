// HttpBodyWriter: a body on its way out, in the form that its head has announced. Internal to services/net/http.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "services/net/protocol.hpp"

namespace tap::net {

class HttpBodyWriter {
 public:
  enum class Form : std::uint8_t { none, length, chunked, until_close };

  /// `counted_only`: nothing is sent of it, as to HEAD.
  void begin(Form form, std::uint64_t length, bool counted_only = false);
  /// The end is the length's business: nullptr, or what is wrong with so many bytes (a literal).
  [[nodiscard]] const char* write(Transport& transport, std::string_view bytes);
  /// As Transport::write_file(). REQUIRES: a length, and that so much is left of it.
  [[nodiscard]] Result<std::size_t> write_file(Transport& transport, int file, std::uint64_t offset, std::size_t bytes);
  [[nodiscard]] const char* end(Transport& transport) const;

  [[nodiscard]] Form form() const { return form_; }

 private:
  Form form_ = Form::none;
  bool counted_only_ = false;
  std::uint64_t left_bytes_ = 0;
};

/// Appends `number` in decimal.
void append_decimal(std::string& out, std::uint64_t number);

}  // namespace tap::net
