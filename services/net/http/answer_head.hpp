// HttpAnswerHead: status and fields of an answer, or of a request that we send, written once and used as often as
// wanted.
//
// Tests: tests/services/net/http/server_answers_test.cpp
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tap::net {

/// "Not Found" for 404; "" for a status that nobody has named.
[[nodiscard]] std::string_view http_reason(int status);

/// Fields as they are sent. What frames a message (Content-Length, Transfer-Encoding, Connection, Keep-Alive, Host) is
/// written by the protocols and left out here, so that a proxy may copy all that it got.
class HttpFields {
 public:
  /// Returns whether it was taken: not when the name frames the message or is no token. Control bytes in the value,
  /// line ends among them, become spaces: nobody's data can add a field.
  bool add(std::string_view name, std::string_view value);

  /// "Name: value\r\n..."
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] bool has_date() const { return has_date_; }
  void clear();

 private:
  std::string text_;
  bool has_date_ = false;
};

/// What an answer begins with. Its length is given to HttpAnswer::begin().
class HttpAnswerHead {
 public:
  explicit HttpAnswerHead(int status = 200) : status_(status) {}
  HttpAnswerHead(int status, std::string_view content_type) : status_(status) { add("Content-Type", content_type); }

  /// See HttpFields::add().
  HttpAnswerHead& add(std::string_view name, std::string_view value) {
    fields_.add(name, value);
    return *this;
  }
  /// The connection ends after this answer.
  HttpAnswerHead& close() {
    close_ = true;
    return *this;
  }

  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] bool closes() const { return close_; }
  [[nodiscard]] const HttpFields& fields() const { return fields_; }

 private:
  HttpFields fields_;
  int status_;
  bool close_ = false;
};

}  // namespace tap::net
