#include "services/files/http.hpp"

#include <utility>

#include "services/files/conditions.hpp"
#include "services/files/name.hpp"

namespace tap::services::files {

using net::HttpAnswer;
using net::HttpAnswerHead;
using net::HttpRequestHead;

void FilesHttp::request_received(const HttpRequestHead& request, HttpAnswer answer) {
  ++place_.counts.requests;
  answer_ = std::move(answer);
  if (!request.is("GET") && !request.is("HEAD")) {
    ++place_.counts.bad_requests;
    HttpAnswerHead head(405, "text/plain");
    head.add("Allow", "GET, HEAD");
    answer_.send(head, "405 Method Not Allowed\n");
    return;
  }
  if (!read_target(request.path)) {
    ++place_.counts.refused;
    send_page(400);
  } else if (!place_.hidden && is_hidden_name(name_)) {
    ++place_.counts.missing;
    send_page(404);
  } else if (slash_) {
    found_directory();
  } else {
    find(name_);
  }
}

void FilesHttp::request_lost(const Error& /*reason*/) {
  looking_ = {};
  waiting_ = {};
  sending_.reset();
}

/// False: this is no path to a file.
bool FilesHttp::read_target(std::string_view target) {
  index_asked_ = false;
  target = target.substr(0, target.find('?'));
  if (target.empty() || target.front() != '/') return false;
  std::optional<std::string> decoded = percent_decoded(target.substr(1));
  if (!decoded) return false;
  name_ = *std::move(decoded);
  slash_ = name_.empty() || name_.back() == '/';
  if (!name_.empty() && slash_) name_.pop_back();
  return target == "/" || is_plain_name(name_);
}

void FilesHttp::find(const std::string& name) {
  if (const Found* known = place_.tree.known(name)) found(Found(*known));
  else looking_ = place_.tree.look_up(name).add_callback([this](const Found& answer) { found(answer); });
}

void FilesHttp::found(const Found& found) {
  using What = Found::What;
  if (index_asked_ && found.what != What::file) return list();
  switch (found.what) {
    case What::file:
      return send_file(found.file);
    case What::directory: {
      // From the decoded name, so that no client is led to another host by what it sent.
      HttpAnswerHead head(301, "text/plain");
      head.add("Location", "/" + percent_encoded(name_) + "/");
      return answer_.send(head, "301 Moved Permanently\n");
    }
    case What::missing:
      ++place_.counts.missing;
      return send_page(404);
    case What::refused:
    case What::no_file:
      ++place_.counts.refused;
      return send_page(403);
    case What::unavailable:
      return send_page(503);
  }
}

void FilesHttp::found_directory() {
  if (place_.index_file.empty()) return list();
  index_asked_ = true;
  find(name_.empty() ? place_.index_file : name_ + "/" + place_.index_file);
}

/// Whether it is a directory at all is seen when it is read.
void FilesHttp::list() {
  if (!place_.index) {
    ++place_.counts.missing;
    return send_page(404);
  }
  waiting_ = place_.tree.page(name_, place_.hidden).add_both([this](const Result<std::string>& page) {
    if (!page) {
      ++place_.counts.missing;
      return send_page(404);
    }
    HttpAnswerHead head(200, "text/html; charset=utf-8");
    head.add("X-Content-Type-Options", "nosniff").add("Cache-Control", "no-cache");
    answer_.send(head, *page);
  });
}

void FilesHttp::send_page(int status) {
  answer_.send(status, "text/plain", std::to_string(status) + " " + std::string(net::http_reason(status)) + "\n");
}

void FilesHttp::send_file(const std::shared_ptr<const OpenedFile>& file) {
  const Validators validators{file->etag, file->modified_s, file->size_bytes};
  if (const int status = evaluate_conditions(request(), validators); status == 304) {
    ++place_.counts.unchanged;
    HttpAnswerHead head(304);
    head.add("ETag", file->etag);
    answer_.begin(head);
    answer_.end();
    return;
  } else if (status != 200) {
    return send_page(status);
  }
  const RangeWanted range = range_wanted(request(), validators);
  ++place_.counts.files;
  if (range.what == RangeWanted::What::unsatisfiable) {
    HttpAnswerHead head(416, "text/plain");
    head.add("Content-Range", "bytes */" + std::to_string(file->size_bytes));
    return answer_.send(head, "416 Range Not Satisfiable\n");
  }
  if (range.what == RangeWanted::What::part) return send_part(file, range.offset, range.bytes);
  if (file->in_memory()) return answer_.send(file->head, file->content);
  answer_.begin(file->head, file->size_bytes);
  if (request().is("HEAD")) return answer_.end();
  sending_.emplace(file, 0, file->size_bytes);
  send_more();
}

void FilesHttp::send_part(const std::shared_ptr<const OpenedFile>& file, std::uint64_t offset, std::uint64_t bytes) {
  ++place_.counts.parts;
  HttpAnswerHead head(206, content_type_of(name_));
  head.add("Content-Range", "bytes " + std::to_string(offset) + "-" + std::to_string(offset + bytes - 1) + "/" +
                                std::to_string(file->size_bytes));
  head.add("ETag", file->etag).add("X-Content-Type-Options", "nosniff");
  if (file->in_memory()) return answer_.send(head, std::string_view(file->content).substr(offset, bytes));
  answer_.begin(head, bytes);
  sending_.emplace(file, offset, bytes);
  send_more();
}

void FilesHttp::send_more() {
  if (!sending_ || !answer_.alive()) return;
  const auto write = [this](int file, std::uint64_t at, std::size_t bytes) {
    return answer_.write_file(file, at, bytes);
  };
  switch (sending_->push(write)) {
    case Sending::Next::done:
      sending_.reset();
      answer_.end();
      break;
    case Sending::Next::room:
    case Sending::Next::turn:
      answer_.when_room([this] { send_more(); });
      break;
    case Sending::Next::fetch:
      waiting_ = place_.tree.fetch(sending_->file(), sending_->offset(), sending_->window())
                     .add_both([this](const Result<void>&) {
                       if (!sending_ || !answer_.alive()) return;
                       sending_->fetched();
                       answer_.when_room([this] { send_more(); });
                     });
      break;
    case Sending::Next::failed:
      ++place_.counts.broken_off;
      answer_.abort("a file cannot be sent to its end: " + sending_->failure().message);
      break;
  }
}

}  // namespace tap::services::files
