// HttpParser: bytes in, events out; the one place that decides what a message is and where it ends.
//
// Two readers look at everything: this one, which takes lines apart byte by byte and refuses what RFC 9112 lets a
// reader refuse, and llhttp, which gets only what has passed. Where they do not agree (method, number of fields,
// length, coding, size of a chunk) the message is refused: what two readers understand differently is how requests are
// smuggled.
//
// Tests: tests/services/net/http/requests_test.cpp, responses_test.cpp; tests/fuzz/http_*_fuzz.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

#include "services/net/http/head.hpp"

namespace tap::net {

/// What a message may have. Passing one of them is a failure with a status of its own.
struct HttpLimits {
  std::size_t start_line_bytes_max = 8'192;                ///< 414
  std::size_t head_bytes_max = 32'768;                     ///< 431; the start line is part of the head
  std::size_t fields_max = 100;                            ///< 431
  std::uint64_t body_bytes_max = std::uint64_t{1} << 20U;  ///< 413
  std::size_t chunk_extension_bytes_max = 4'096;           ///< 400; of one message, together
  std::size_t trailer_bytes_max = 8'192;                   ///< 431

  static constexpr std::uint64_t kAnyBody = std::numeric_limits<std::uint64_t>::max();
};

enum class HttpEvent : std::uint8_t {
  need_more,  ///< the input is used up
  head,       ///< the head is there
  body,       ///< a piece of the body is there: body()
  end,        ///< the message is over; restart() before the next one
  failed,     ///< failure() says why; nothing more can be read
};

/// Why a message was refused.
struct HttpFailure {
  int status = 0;           ///< what a server answers
  const char* reason = "";  ///< a sentence for the log and the peer; literals only
};

/// Thread: one.   Lifetime: a head's views live until restart(), those of body() until the next call.
/// The same events come, body pieces joined, however the bytes are cut.
class HttpParser {
 public:
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;
  virtual ~HttpParser();

  /// Takes bytes from the front of `input` up to the next event. REQUIRES: the message is neither over nor failed.
  [[nodiscard]] HttpEvent next(std::string_view& input);
  /// The peer has sent its last byte: need_more when nothing was under way, end when the message ended by it, else
  /// failed.
  [[nodiscard]] HttpEvent finish();
  /// Ready for the next message of this connection.
  void restart();

  [[nodiscard]] std::string_view body() const { return body_; }
  [[nodiscard]] const HttpFailure& failure() const { return failure_; }
  /// Whether not a byte of the next head has come, nor the rest of a message is missing.
  [[nodiscard]] bool between_messages() const;
  /// Whether a head has begun and is not whole.
  /// The memory that it holds for what has come.
  [[nodiscard]] std::size_t buffered_bytes() const { return text_.capacity() + part_.capacity(); }
  [[nodiscard]] bool inside_head() const { return stage_ == Stage::head && !between_messages(); }

 protected:
  enum class Kind : std::uint8_t { request, response };
  enum class Framing : std::uint8_t { none, length, chunked, until_close };

  HttpParser(Kind kind, const HttpLimits& limits);

  /// What the fields of a head said that more than one of us wants to know.
  struct Notes {
    std::string_view host;
    std::string_view expect;
    unsigned hosts = 0;
    bool close = false;
    bool keep_alive = false;
    bool upgrade = false;        ///< in the Connection field
    bool upgrade_field = false;  ///< there is an Upgrade field
    bool coded = false;          ///< there is a Transfer-Encoding field; it says `chunked`
  };

  // What differs between requests and responses. Those that return bool return false after fail().
  [[nodiscard]] virtual bool read_start_line(std::string_view line) = 0;
  [[nodiscard]] virtual bool read_head(std::string_view start_line) = 0;
  [[nodiscard]] virtual Framing framing() const = 0;
  virtual void forget_head() = 0;
  [[nodiscard]] virtual HttpHead& common() = 0;

  bool fail(int status, const char* reason);
  /// The version at the end, or the beginning, of a start line.
  [[nodiscard]] bool read_version(std::string_view version);
  [[nodiscard]] const Notes& notes() const { return notes_; }

 private:
  enum class Stage : std::uint8_t {
    head,
    length_body,
    chunk_line,
    chunk_data,
    chunk_end,
    trailers,
    body_until_close,
    ending,
    over,
    broken,
  };
  /// What looking at some bytes of a line gave: how many belong to it, and whether they are its end.
  struct Scan {
    std::size_t bytes = 0;
    bool line_done = false;
  };
  struct SecondReader;

  [[nodiscard]] HttpEvent take_head(std::string_view& input);
  [[nodiscard]] HttpEvent take_body(std::string_view& input);
  [[nodiscard]] HttpEvent take_chunk_line(std::string_view& input);
  [[nodiscard]] bool take_chunk_end(std::string_view& input);
  [[nodiscard]] bool take_trailers(std::string_view& input);
  [[nodiscard]] Scan scan_line(std::string_view bytes, bool field_begins);
  [[nodiscard]] bool start_line_ended();
  [[nodiscard]] HttpEvent head_done();
  [[nodiscard]] bool read_fields(std::string_view lines);
  [[nodiscard]] bool read_field(std::string_view line, HttpField& field);
  [[nodiscard]] bool note(const HttpField& field);
  [[nodiscard]] bool note_connection(std::string_view value);
  [[nodiscard]] bool chunk_line_done(std::string_view line);
  [[nodiscard]] bool trailers_done();
  [[nodiscard]] bool count_body(std::uint64_t bytes);
  [[nodiscard]] bool second_opinion(std::string_view bytes, bool over);
  void begin_lines();

  HttpLimits limits_;
  std::unique_ptr<SecondReader> second_;
  std::string text_;  ///< the head; when it is over nothing is moved in it until restart()
  std::string part_;  ///< the beginning of a chunk's line, or the trailers
  std::string_view body_;
  HttpFailure failure_;
  Notes notes_;
  std::uint64_t left_bytes_ = 0;  ///< of the body, or of the chunk
  std::uint64_t body_bytes_ = 0;
  std::size_t line_at_ = 0;  ///< where the present line begins
  std::size_t lines_ = 0;    ///< whole lines so far
  std::size_t start_line_bytes_ = 0;
  std::size_t extension_bytes_ = 0;
  Kind kind_;
  Stage stage_ = Stage::head;
  Framing framing_ = Framing::none;
  bool after_cr_ = false;
  bool skipped_line_ = false;  ///< an empty line before the start line
};

/// Reads requests, as a server does.
class HttpRequestParser final : public HttpParser {
 public:
  explicit HttpRequestParser(const HttpLimits& limits = {}) : HttpParser(Kind::request, limits) {}
  [[nodiscard]] const HttpRequestHead& head() const { return head_; }

 private:
  [[nodiscard]] bool read_start_line(std::string_view line) override;
  [[nodiscard]] bool read_head(std::string_view start_line) override;
  [[nodiscard]] Framing framing() const override;
  void forget_head() override;
  [[nodiscard]] HttpHead& common() override { return head_; }

  [[nodiscard]] bool read_target(std::string_view method, std::string_view target);
  [[nodiscard]] bool read_absolute_target(std::string_view target);
  [[nodiscard]] bool check_host();

  HttpRequestHead head_;
};

/// Reads responses, as a client does.
class HttpResponseParser final : public HttpParser {
 public:
  explicit HttpResponseParser(const HttpLimits& limits = {}) : HttpParser(Kind::response, limits) {}
  /// Before each response: whether it answers HEAD, so that no body follows whatever its head says.
  void answering_head(bool is_head) { to_head_ = is_head; }
  [[nodiscard]] const HttpResponseHead& head() const { return head_; }

 private:
  [[nodiscard]] bool read_start_line(std::string_view line) override;
  [[nodiscard]] bool read_head(std::string_view start_line) override;
  [[nodiscard]] Framing framing() const override;
  void forget_head() override;
  [[nodiscard]] HttpHead& common() override { return head_; }

  HttpResponseHead head_;
  bool to_head_ = false;
};

}  // namespace tap::net
