#include "services/net/http/second_reader.hpp"

#include <llhttp.h>

namespace tap::net {

struct HttpSecondReader::Reader {
  llhttp_t parser{};
  Expected expected;
  std::size_t fields = 0;
  std::uint64_t chunk_bytes = 0;
  bool requests = true;
  bool agrees = true;
  bool over = false;
};

namespace {

/// Whether llhttp has seen what we have. It may be asked for the fields of the trailers too, which nobody compares.
template <class Reader>
int head_seen(llhttp_t* parser) {
  auto* reader = static_cast<Reader*>(parser->data);
  const auto& expected = reader->expected;
  reader->agrees = reader->fields == expected.fields && ((parser->flags & F_CHUNKED) != 0) == expected.chunked &&
                   ((parser->flags & F_CONTENT_LENGTH) != 0) == expected.content_length.has_value() &&
                   parser->content_length == expected.content_length.value_or(0);
  return expected.bodyless && !reader->requests ? 1 : 0;
}

template <class Reader>
llhttp_settings_t make_settings() {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_header_value_complete = [](llhttp_t* parser) {
    ++static_cast<Reader*>(parser->data)->fields;
    return 0;
  };
  settings.on_headers_complete = head_seen<Reader>;
  settings.on_chunk_header = [](llhttp_t* parser) {
    static_cast<Reader*>(parser->data)->chunk_bytes = parser->content_length;
    return 0;
  };
  settings.on_message_complete = [](llhttp_t* parser) {
    static_cast<Reader*>(parser->data)->over = true;
    return 0;
  };
  return settings;
}

}  // namespace

HttpSecondReader::HttpSecondReader(bool requests) : reader_(std::make_unique<Reader>()) {
  static const llhttp_settings_t settings = make_settings<Reader>();
  reader_->requests = requests;
  llhttp_init(&reader_->parser, requests ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
  reader_->parser.data = reader_.get();
}

HttpSecondReader::~HttpSecondReader() = default;

void HttpSecondReader::restart() {
  llhttp_reset(&reader_->parser);
  reader_->fields = 0;
  reader_->over = false;
}

void HttpSecondReader::expect(const Expected& expected) { reader_->expected = expected; }

std::uint64_t HttpSecondReader::chunk_bytes() const { return reader_->chunk_bytes; }

HttpSecondReader::Opinion HttpSecondReader::read(std::string_view bytes, bool over) {
  const llhttp_errno_t error = llhttp_execute(&reader_->parser, bytes.data(), bytes.size());
  if (error == HPE_INVALID_METHOD) return Opinion::unknown_method;
  // A message with an Upgrade field pauses it at the end; whether there is another protocol is not its business.
  const bool good = error == HPE_OK || (error == HPE_PAUSED_UPGRADE && reader_->over);
  return good && reader_->agrees && reader_->over == over ? Opinion::agrees : Opinion::differs;
}

}  // namespace tap::net
