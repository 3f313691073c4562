// StringTransport: a Transport that is nothing but strings, for testing a protocol without sockets (after Twisted's).
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "services/net/protocol.hpp"

namespace tap::testing {

/// Thread: one. What the protocol wrote and asked for is there to be looked at.
class StringTransport final : public net::Transport {
 public:
  void write(std::string_view bytes) override {
    if (!ending() && !half_closed_) written_.append(bytes);
  }
  void lose_connection() override { lost_ = true; }
  void lose_write_connection() override { half_closed_ = true; }
  void abort_connection() override { aborted_ = true; }
  void fail(std::string_view why) override {
    failure_ = why;
    aborted_ = true;
  }
  void pause_reading() override { reading_ = false; }
  void resume_reading() override { reading_ = true; }
  void require_clean_end() override { clean_end_required_ = true; }
  void request_begins() override { request_open_ = true; }
  void request_ends() override { request_open_ = false; }
  [[nodiscard]] bool congested() override { return congested_; }
  [[nodiscard]] bool ending() const override { return lost_ || aborted_; }
  [[nodiscard]] std::string peer() const override { return "a test"; }

  /// What was written since the last call.
  [[nodiscard]] std::string take_written() { return std::exchange(written_, {}); }
  /// Plays a peer that does not read.
  void set_congested(bool congested) { congested_ = congested; }
  [[nodiscard]] bool lost() const { return lost_; }
  [[nodiscard]] bool half_closed() const { return half_closed_; }
  [[nodiscard]] bool aborted() const { return aborted_; }
  [[nodiscard]] bool reading() const { return reading_; }
  [[nodiscard]] bool clean_end_required() const { return clean_end_required_; }
  /// Whether a request has begun, and has its deadline.
  [[nodiscard]] bool request_open() const { return request_open_; }
  [[nodiscard]] const std::string& failure() const { return failure_; }

 private:
  std::string written_;
  std::string failure_;
  bool lost_ = false;
  bool half_closed_ = false;
  bool aborted_ = false;
  bool reading_ = true;
  bool congested_ = false;
  bool clean_end_required_ = false;
  bool request_open_ = false;
};

}  // namespace tap::testing
