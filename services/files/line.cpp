#include "services/files/line.hpp"

#include <utility>

namespace tap::services::files {

void FilesLine::data_received(std::string_view data) {
  waiting_.append(data);
  go_on();
}

void FilesLine::end_received() {
  peer_ended_ = true;
  go_on();
}

void FilesLine::output_drained() {
  if (sending_) send_more();
  else go_on();
}

void FilesLine::connection_lost(const Error& /*reason*/) {
  looking_ = {};
  fetching_ = {};
  next_turn_.cancel();
  sending_.reset();
}

std::size_t FilesLine::buffered_bytes() const {
  return waiting_.capacity() > std::string().capacity() ? waiting_.capacity() : 0;
}

/// Answers what waits, one after the other; then reads on when nothing does.
void FilesLine::go_on() {
  if (going_on_) return;
  going_on_ = true;
  while (!busy_ && !transport().ending() && !transport().congested() && take_line()) continue;
  going_on_ = false;
  if (transport().ending()) return;
  waiting_.erase(0, std::exchange(taken_, 0));
  if (waiting_.empty()) waiting_ = std::string();
  const bool line_waits = owes_answer();
  if (line_waits) transport().pause_reading();
  else transport().resume_reading();
  if (!line_waits && peer_ended_) {
    transport().lose_connection();
  } else if (!line_waits && !waiting_.empty() && !request_open_) {
    request_open_ = true;
    transport().request_begins();
  }
}

/// False: there is no whole line.
bool FilesLine::take_line() {
  const std::size_t end = waiting_.find('\n', taken_);
  if ((end == std::string::npos ? waiting_.size() : end) - taken_ > kLineBytesMax) {
    ++place_.counts.bad_requests;
    transport().fail("a line is longer than " + std::to_string(kLineBytesMax) + " bytes");
    return false;
  }
  if (end == std::string::npos) return false;
  if (std::exchange(request_open_, false)) transport().request_ends();
  std::string line = waiting_.substr(taken_, end - taken_);
  taken_ = end + 1;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  asked(line);
  return true;
}

void FilesLine::asked(std::string_view line) {
  ++place_.counts.requests;
  busy_ = true;
  constexpr std::string_view kGet = "get ";
  if (line.substr(0, kGet.size()) != kGet) {
    ++place_.counts.bad_requests;
    refuse("there is only: get NAME");
    return;
  }
  get(std::string(line.substr(kGet.size())));
}

void FilesLine::get(const std::string& name) {
  if (!is_plain_name(name)) {
    ++place_.counts.refused;
    refuse("this is no name of a file");
  } else if (!place_.hidden && is_hidden_name(name)) {
    ++place_.counts.missing;
    refuse("there is no such file");
  } else if (const Found* known = place_.tree.known(name)) {
    answer(Found(*known));
  } else {
    looking_ = place_.tree.look_up(name).add_callback([this](const Found& found) { answer(found); });
  }
}

void FilesLine::answer(const Found& found) {
  using What = Found::What;
  switch (found.what) {
    case What::file:
      break;
    case What::directory:
      ++place_.counts.missing;
      return refuse("this is a directory");
    case What::missing:
      ++place_.counts.missing;
      return refuse("there is no such file");
    case What::refused:
      ++place_.counts.refused;
      return refuse("it is not allowed");
    case What::no_file:
      ++place_.counts.refused;
      return refuse("this is no regular file");
    case What::unavailable:
      return refuse("it cannot be read now");
  }
  ++place_.counts.files;
  transport().write("ok " + std::to_string(found.file->size_bytes) + "\n");
  if (found.file->in_memory()) {
    transport().write(found.file->content);
    over();
    return;
  }
  sending_.emplace(found.file, 0, found.file->size_bytes);
  send_more();
}

void FilesLine::refuse(std::string_view reason) {
  transport().write("error " + std::string(reason) + "\n");
  over();
}

void FilesLine::send_more() {
  if (!fetching_.done()) return;
  switch (sending_->push(
      [this](int file, std::uint64_t at, std::size_t bytes) { return transport().write_file(file, at, bytes); })) {
    case Sending::Next::done:
      over();
      break;
    case Sending::Next::room:
      break;  // output_drained() comes
    case Sending::Next::turn:
      next_turn_ = place_.tree.reactor().call_later(0, [this] { send_more(); });
      break;
    case Sending::Next::fetch:
      fetching_ = place_.tree.fetch(sending_->file(), sending_->offset(), sending_->window())
                      .add_both([this](const Result<void>&) {
                        if (!sending_ || transport().ending()) return;
                        sending_->fetched();
                        next_turn_ = place_.tree.reactor().call_later(0, [this] { send_more(); });
                      });
      break;
    case Sending::Next::failed:
      // The client was promised more; only a reset tells it that this is not all.
      ++place_.counts.broken_off;
      transport().fail("a file cannot be sent to its end: " + sending_->failure().message);
      break;
  }
}

void FilesLine::over() {
  busy_ = false;
  sending_.reset();
  next_turn_.cancel();
  go_on();
}

}  // namespace tap::services::files
