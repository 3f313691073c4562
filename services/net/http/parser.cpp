#include "services/net/http/parser.hpp"

#include <algorithm>
#include <utility>

#include "services/net/http/second_reader.hpp"
#include "services/net/http/syntax.hpp"
#include "state/base/assert.hpp"

namespace tap::net {
namespace {

/// What an idle connection keeps of its buffers.
constexpr std::size_t kKeptBytesMax = 1'024;
constexpr std::size_t kLineEndBytes = 2;

}  // namespace

struct HttpParser::SecondReader : HttpSecondReader {
  using HttpSecondReader::HttpSecondReader;
};

HttpParser::HttpParser(Kind kind, const HttpLimits& limits)
    : limits_(limits), second_(std::make_unique<SecondReader>(kind == Kind::request)), kind_(kind) {}

HttpParser::~HttpParser() = default;

bool HttpParser::fail(int status, const char* reason) {
  failure_ = {status, reason};
  stage_ = Stage::broken;
  return false;
}

bool HttpParser::between_messages() const { return stage_ == Stage::over || (stage_ == Stage::head && text_.empty()); }

void HttpParser::begin_lines() {
  line_at_ = lines_ = 0;
  after_cr_ = false;
}

void HttpParser::restart() {
  TAP_ASSERT(stage_ == Stage::over);
  text_.clear();
  if (text_.capacity() > kKeptBytesMax) text_.shrink_to_fit();
  common().fields.clear();
  forget_head();
  second_->restart();
  begin_lines();
  body_bytes_ = extension_bytes_ = 0;
  skipped_line_ = false;
  stage_ = Stage::head;
}

HttpEvent HttpParser::next(std::string_view& input) {
  for (;;) {
    switch (stage_) {
      case Stage::head:
        return take_head(input);
      case Stage::length_body:
      case Stage::chunk_data:
      case Stage::body_until_close:
        return take_body(input);
      case Stage::chunk_line: {
        const HttpEvent event = take_chunk_line(input);
        if (event != HttpEvent::body) return event;
        continue;  // its data, or the trailers
      }
      case Stage::chunk_end:
        if (!take_chunk_end(input)) return HttpEvent::need_more;
        continue;
      case Stage::trailers:
        if (!take_trailers(input)) return HttpEvent::need_more;
        continue;
      case Stage::ending:
        stage_ = Stage::over;
        return HttpEvent::end;
      case Stage::broken:
        return HttpEvent::failed;
      case Stage::over:
        break;
    }
    TAP_ASSERT(stage_ != Stage::over);
  }
}

HttpEvent HttpParser::finish() {
  if (stage_ == Stage::broken) return HttpEvent::failed;
  if (between_messages()) return HttpEvent::need_more;
  if (stage_ == Stage::ending || stage_ == Stage::body_until_close) {
    stage_ = Stage::over;
    return HttpEvent::end;
  }
  fail(400, stage_ == Stage::head ? "the connection ended inside a head" : "the connection ended inside a body");
  return HttpEvent::failed;
}

/// Looks at bytes of the present line up to its end; after a fail() the stage is broken. `field_begins`: the first of
/// them is the first of a line of fields.
HttpParser::Scan HttpParser::scan_line(std::string_view bytes, bool field_begins) {
  std::size_t at = 0;
  if (!after_cr_) {
    if (field_begins && !bytes.empty() && (bytes[0] == ' ' || bytes[0] == '\t')) {
      fail(400, "a line of the head begins with a space (obsolete folding)");
      return {};
    }
    while (at < bytes.size() && http_bytes::is(bytes[at], http_bytes::kText)) ++at;
    if (at == bytes.size()) return {at, false};
    if (bytes[at] != '\r') {
      fail(400, bytes[at] == '\n' ? "a line ends in a bare LF" : "there is a control byte in a line");
      return {};
    }
    after_cr_ = true;
    ++at;
  }
  if (at == bytes.size()) return {at, false};
  if (bytes[at] != '\n') {
    fail(400, "there is a bare CR in a line");
    return {};
  }
  after_cr_ = false;
  return {at + 1, true};
}

/// Bytes are looked at where they are and copied in one piece, at the end of the head or of the input.
HttpEvent HttpParser::take_head(std::string_view& input) {
  std::size_t taken = 0;
  const auto keep = [&] {
    text_.append(input.substr(0, taken));
    input.remove_prefix(std::exchange(taken, 0));
  };
  for (;;) {
    const std::size_t at = text_.size() + taken;
    const std::size_t limit = lines_ == 0
                                  ? std::min(limits_.head_bytes_max, limits_.start_line_bytes_max + kLineEndBytes)
                                  : limits_.head_bytes_max;
    const std::string_view rest = input.substr(taken);
    const Scan scan = scan_line(rest.substr(0, limit - std::min(at, limit)), lines_ != 0 && at == line_at_);
    if (stage_ == Stage::broken) return HttpEvent::failed;
    taken += scan.bytes;
    if (!scan.line_done) {
      if (rest.size() > scan.bytes) {
        if (lines_ == 0) fail(414, "the start line is too long");
        else fail(431, "the head is too long");
        return HttpEvent::failed;
      }
      keep();
      return HttpEvent::need_more;
    }
    const bool empty = text_.size() + taken - line_at_ == kLineEndBytes;
    if (lines_ == 0) {
      keep();
      if (!start_line_ended()) return HttpEvent::failed;
      if (empty) continue;
    } else if (empty) {
      keep();
      return head_done();
    }
    if (lines_++ > limits_.fields_max) {
      fail(431, "there are too many fields in the head");
      return HttpEvent::failed;
    }
    line_at_ = text_.size() + taken;
  }
}

/// The start line is looked at before the rest has come, so that who speaks another protocol hears of it.
bool HttpParser::start_line_ended() {
  start_line_bytes_ = text_.size() - kLineEndBytes;
  if (start_line_bytes_ != 0) return read_start_line({text_.data(), start_line_bytes_});
  // RFC 9112 section 2.2: an empty line too much after an old client's body.
  if (kind_ == Kind::response || skipped_line_) return fail(400, "there is an empty line instead of a start line");
  skipped_line_ = true;
  text_.clear();
  return true;
}

HttpEvent HttpParser::head_done() {
  const std::string_view text(text_);
  const std::size_t fields_at = start_line_bytes_ + kLineEndBytes;
  notes_ = {};
  HttpHead& head = common();
  head.content_length.reset();
  head.chunked = false;
  if (!read_fields(text.substr(fields_at, text.size() - fields_at - kLineEndBytes))) return HttpEvent::failed;
  head.upgrade = notes_.upgrade && notes_.upgrade_field;
  head.keep_alive = !notes_.close && (head.minor_version == 1 || notes_.keep_alive);
  if (!read_head(text.substr(0, start_line_bytes_))) return HttpEvent::failed;
  framing_ = framing();
  left_bytes_ = framing_ == Framing::length ? *head.content_length : 0;
  if (!count_body(left_bytes_)) return HttpEvent::failed;
  const bool over = framing_ == Framing::none || (framing_ == Framing::length && left_bytes_ == 0);
  second_->expect({head.fields.size(), head.content_length, head.chunked, framing_ == Framing::none});
  if (!second_opinion(text, over)) return HttpEvent::failed;
  if (framing_ == Framing::until_close) head.keep_alive = false;
  if (over) stage_ = Stage::ending;
  else if (framing_ == Framing::chunked) stage_ = Stage::chunk_line;
  else stage_ = framing_ == Framing::length ? Stage::length_body : Stage::body_until_close;
  part_.clear();
  begin_lines();
  return HttpEvent::head;
}

bool HttpParser::second_opinion(std::string_view bytes, bool over) {
  switch (second_->read(bytes, over)) {
    case HttpSecondReader::Opinion::agrees:
      return true;
    case HttpSecondReader::Opinion::unknown_method:
      return fail(501, "the method is not known");
    case HttpSecondReader::Opinion::differs:
      break;
  }
  return fail(400, "this message may be understood in two ways");
}

bool HttpParser::count_body(std::uint64_t bytes) {
  if (bytes > limits_.body_bytes_max - body_bytes_) return fail(413, "the body is too long");
  body_bytes_ += bytes;
  return true;
}

HttpEvent HttpParser::take_body(std::string_view& input) {
  if (input.empty()) return HttpEvent::need_more;
  if (stage_ == Stage::body_until_close) {
    // So many as are allowed are handed on, wherever the input is cut.
    const std::uint64_t room = limits_.body_bytes_max - body_bytes_;
    if (room == 0) {
      fail(413, "the body is too long");
      return HttpEvent::failed;
    }
    left_bytes_ = room;
  }
  body_ = input.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_bytes_, input.size())));
  input.remove_prefix(body_.size());
  left_bytes_ -= body_.size();
  if (stage_ == Stage::body_until_close) body_bytes_ += body_.size();
  const bool over = stage_ == Stage::length_body && left_bytes_ == 0;
  if (!second_opinion(body_, over)) return HttpEvent::failed;
  if (over) stage_ = Stage::ending;
  if (stage_ == Stage::chunk_data && left_bytes_ == 0) stage_ = Stage::chunk_end;
  return HttpEvent::body;
}

/// body: the line was read and the stage is another one.
HttpEvent HttpParser::take_chunk_line(std::string_view& input) {
  constexpr std::size_t kSizeBytesMax = 16;
  const std::size_t limit = kSizeBytesMax + limits_.chunk_extension_bytes_max - extension_bytes_ + kLineEndBytes;
  const Scan scan = scan_line(input.substr(0, limit - std::min(part_.size(), limit)), false);
  if (stage_ == Stage::broken) return HttpEvent::failed;
  if (!scan.line_done && input.size() > scan.bytes) {
    fail(400, "the line before a chunk is too long");
    return HttpEvent::failed;
  }
  std::string_view line = input.substr(0, scan.bytes);
  input.remove_prefix(scan.bytes);
  if (!scan.line_done || !part_.empty()) part_.append(line);
  if (!scan.line_done) return HttpEvent::need_more;
  if (!part_.empty()) line = part_;
  const bool good = chunk_line_done(line);
  part_.clear();
  return good ? HttpEvent::body : HttpEvent::failed;
}

bool HttpParser::chunk_line_done(std::string_view line) {
  const std::string_view content = line.substr(0, line.size() - kLineEndBytes);
  const std::size_t size_end = std::min(content.find(';'), content.size());
  const std::optional<std::uint64_t> size = parse_chunk_size(content.substr(0, size_end));
  if (!size) return fail(400, "a chunk's size is not a hexadecimal number");
  extension_bytes_ += content.size() - size_end;
  if (extension_bytes_ > limits_.chunk_extension_bytes_max) return fail(400, "the chunks have too long extensions");
  if (!count_body(*size)) return false;
  if (!second_opinion(line, false)) return false;
  if (second_->chunk_bytes() != *size) return fail(400, "a chunk's size may be understood in two ways");
  left_bytes_ = *size;
  stage_ = *size == 0 ? Stage::trailers : Stage::chunk_data;
  return true;
}

/// A CR and an LF, nothing else. False: more is needed.
bool HttpParser::take_chunk_end(std::string_view& input) {
  if (input.empty()) return false;
  const std::string_view piece = input.substr(0, after_cr_ ? 1 : kLineEndBytes);
  const std::string_view expected = after_cr_ ? "\n" : "\r\n";
  if (piece != expected.substr(0, piece.size())) return !fail(400, "a chunk does not end where its size says");
  input.remove_prefix(piece.size());
  if (!second_opinion(piece, false)) return true;
  after_cr_ = piece == "\r";
  if (!after_cr_) stage_ = Stage::chunk_line;
  return true;
}

/// They are checked and then left out. False: more is needed.
bool HttpParser::take_trailers(std::string_view& input) {
  while (stage_ == Stage::trailers) {
    const std::size_t limit = limits_.trailer_bytes_max + kLineEndBytes;
    const Scan scan = scan_line(input.substr(0, limit - std::min(part_.size(), limit)), part_.size() == line_at_);
    if (stage_ == Stage::broken) return true;
    if (!scan.line_done && input.size() > scan.bytes) return !fail(431, "the trailers are too long");
    part_.append(input.substr(0, scan.bytes));
    input.remove_prefix(scan.bytes);
    if (!scan.line_done) return false;
    const bool last = part_.size() - line_at_ == kLineEndBytes;
    line_at_ = part_.size();
    if (last) return trailers_done() || stage_ == Stage::broken;
  }
  return true;
}

}  // namespace tap::net
