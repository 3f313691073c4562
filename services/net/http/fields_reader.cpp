// HttpParser's reading of fields: lines of a head that are known to be whole and of good bytes.
#include "services/net/http/parser.hpp"
#include "services/net/http/second_reader.hpp"
#include "services/net/http/syntax.hpp"

namespace tap::net {
namespace {

/// Calls `take` with each line, without its end; stops when it returns false.
template <class Take>
bool each_line(std::string_view lines, Take take) {
  while (!lines.empty()) {
    const std::size_t end = lines.find('\r');
    if (!take(lines.substr(0, end))) return false;
    lines.remove_prefix(end + 2);
  }
  return true;
}

}  // namespace

bool HttpParser::read_fields(std::string_view lines) {
  std::vector<HttpField>& fields = common().fields;
  fields.reserve(lines_ - 1);
  return each_line(lines, [&](std::string_view line) {
    HttpField field;
    if (!read_field(line, field) || !note(field)) return false;
    fields.push_back(field);
    return true;
  });
}

bool HttpParser::read_field(std::string_view line, HttpField& field) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return fail(400, "a line of the head has no colon");
  field.name = line.substr(0, colon);
  // A space before the colon is none either (RFC 9112 section 5.1).
  if (!is_token(field.name)) return fail(400, "a field's name is none");
  field.value = trimmed(line.substr(colon + 1));
  return true;
}

/// The length of a name tells most fields apart from those that matter here.
bool HttpParser::note(const HttpField& field) {
  const std::string_view name = field.name;
  switch (name.size()) {
    case 4:
      if (same_ignoring_case(name, "host")) {
        ++notes_.hosts;
        notes_.host = field.value;
      }
      return true;
    case 6:
      if (same_ignoring_case(name, "expect")) notes_.expect = field.value;
      return true;
    case 7:
      notes_.upgrade_field |= same_ignoring_case(name, "upgrade");
      return true;
    case 10:
      return !same_ignoring_case(name, "connection") || note_connection(field.value);
    case 14: {
      if (!same_ignoring_case(name, "content-length")) return true;
      std::optional<std::uint64_t>& length = common().content_length;
      if (length) return fail(400, "there is more than one Content-Length");
      length = parse_length(field.value);
      return length.has_value() || fail(400, "the Content-Length is not a number");
    }
    case 17:
      if (!same_ignoring_case(name, "transfer-encoding")) return true;
      if (notes_.coded) return fail(400, "there is more than one Transfer-Encoding");
      notes_.coded = true;
      common().chunked = same_ignoring_case(field.value, "chunked");
      return common().chunked || fail(501, "the Transfer-Encoding is not 'chunked'");
    default:
      return true;
  }
}

bool HttpParser::note_connection(std::string_view value) {
  std::string_view member;
  while (next_list_member(value, member)) {
    notes_.close |= same_ignoring_case(member, "close");
    notes_.keep_alive |= same_ignoring_case(member, "keep-alive");
    notes_.upgrade |= same_ignoring_case(member, "upgrade");
    // A proxy that removes what the sender lists must not be made to remove what frames the message.
    if (same_ignoring_case(member, "content-length") || same_ignoring_case(member, "transfer-encoding") ||
        same_ignoring_case(member, "host")) {
      return fail(400, "the Connection field lists a field that belongs to the message");
    }
  }
  return true;
}

bool HttpParser::read_version(std::string_view version) {
  const bool shaped = version.size() == 8 && version.substr(0, 5) == "HTTP/" && version[5] >= '0' &&
                      version[5] <= '9' && version[6] == '.' && version[7] >= '0' && version[7] <= '9';
  if (!shaped) return fail(400, "the version is none of HTTP");
  if (version[5] != '1' || version[7] > '1') return fail(505, "the version is not HTTP/1.1 or HTTP/1.0");
  common().minor_version = static_cast<std::uint8_t>(version[7] - '0');
  return true;
}

/// What comes after the body may not change what the head has said of it.
bool HttpParser::trailers_done() {
  const std::string_view lines(part_.data(), part_.size() - 2);
  const bool good = each_line(lines, [&](std::string_view line) {
    HttpField field;
    if (!read_field(line, field)) return false;
    for (const std::string_view forbidden :
         {"content-length", "transfer-encoding", "host", "connection", "trailer", "expect", "upgrade"}) {
      if (same_ignoring_case(field.name, forbidden)) return fail(400, "a trailer is a field that belongs to the head");
    }
    return true;
  });
  if (!good || !second_opinion(part_, true)) return false;
  stage_ = Stage::ending;
  part_.clear();
  if (part_.capacity() != 0) part_.shrink_to_fit();
  return true;
}

}  // namespace tap::net
