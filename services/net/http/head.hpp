// The heads of HTTP messages as a parser leaves them: one piece of text, and views into it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace tap::net {

struct HttpField {
  std::string_view name;   ///< as it was sent
  std::string_view value;  ///< without spaces around it
};

/// What requests and responses have in common.
///
/// Lifetime: the views are those of the parser's text; they end with its restart(). What is to live longer is copied.
struct HttpHead {
  std::vector<HttpField> fields;  ///< in the order they came; names may come again
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  bool keep_alive = false;         ///< the connection may be used again, as far as the sender is concerned
  bool upgrade = false;            ///< `Connection: upgrade` together with an Upgrade field
  std::uint8_t minor_version = 1;  ///< HTTP/1.0 or HTTP/1.1

  /// The first field of that name, in any case; nullptr when there is none.
  [[nodiscard]] const HttpField* find(std::string_view name) const;
  /// Its value; empty when there is none.
  [[nodiscard]] std::string_view value(std::string_view name) const;
  /// Whether a field that is a comma-separated list, given once or several times, has this member.
  [[nodiscard]] bool lists(std::string_view name, std::string_view member) const;
  /// Whether it says something about one hop only, and a proxy must not pass it on: the fields that RFC 9110 section
  /// 7.6.1 names and those that the Connection field lists.
  [[nodiscard]] bool hop_by_hop(std::string_view name) const;
};

struct HttpRequestHead : HttpHead {
  enum class Form : std::uint8_t {
    origin,     ///< /path?query
    absolute,   ///< http://host/path?query, to a proxy
    authority,  ///< host:port, of CONNECT
    asterisk,   ///< of OPTIONS
  };

  std::string_view method;  ///< case-sensitive; one that llhttp knows
  std::string_view target;  ///< as it was sent
  Form form = Form::origin;
  std::string_view scheme;     ///< of an absolute target, "http" or "https" in any case; else empty
  std::string_view authority;  ///< of the target when it has one, else the Host field's value; may be empty
  std::string_view path;       ///< path and query; "/" where an absolute target has none; "*" or empty otherwise
  bool expects_continue = false;

  [[nodiscard]] bool is(std::string_view a_method) const { return method == a_method; }
  /// Whether a body follows, be it an empty one.
  [[nodiscard]] bool has_body() const { return chunked || content_length.value_or(0) != 0; }
};

struct HttpResponseHead : HttpHead {
  int status = 0;  ///< 100 to 599
  std::string_view reason;
};

}  // namespace tap::net
