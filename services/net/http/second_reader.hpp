// HttpSecondReader: llhttp, asked whether it understands a message as we do. Internal to services/net/http.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace tap::net {

/// Thread: one. Not for users: HttpParser is.
class HttpSecondReader {
 public:
  enum class Opinion : std::uint8_t { agrees, unknown_method, differs };
  /// What a head has to come out as.
  struct Expected {
    std::size_t fields = 0;
    std::optional<std::uint64_t> content_length;
    bool chunked = false;
    bool bodyless = false;  ///< whatever the fields say
  };

  explicit HttpSecondReader(bool requests);
  HttpSecondReader(const HttpSecondReader&) = delete;
  HttpSecondReader& operator=(const HttpSecondReader&) = delete;
  ~HttpSecondReader();

  void restart();
  void expect(const Expected& expected);
  /// `over`: whether these bytes end the message.
  [[nodiscard]] Opinion read(std::string_view bytes, bool over);
  /// Of the last chunk's line.
  [[nodiscard]] std::uint64_t chunk_bytes() const;

 private:
  struct Reader;
  std::unique_ptr<Reader> reader_;
};

}  // namespace tap::net
