// The clients of a weblog: what each of them has got, and what is to be sent to it next.
//
// Tests: tests/services/weblog/weblog_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>

#include "services/net/protocol.hpp"
#include "services/weblog/backlog.hpp"

namespace tap::services::weblog {

class Client;

/// Thread: the loop's. Lifetime: outlives its clients.
class Clients {
 public:
  Clients(bool pull, std::size_t backlog_bytes_max) : pull_(pull), backlog_bytes_max_(backlog_bytes_max) {}
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  /// One more, which will begin with the last `keep` hits.
  [[nodiscard]] std::unique_ptr<net::Protocol> make();
  /// How many of the last hits a new client gets.
  void keep(std::uint64_t hits) { keep_ = hits; }
  /// Hits that were found. What no client needs any more is forgotten; a client that is too far behind is ended.
  void add(std::string xml, std::vector<std::uint32_t> ends);
  /// Sends each client what is newer than its last push.
  void push();

  [[nodiscard]] Backlog& backlog() { return backlog_; }
  [[nodiscard]] const Backlog& backlog() const { return backlog_; }
  [[nodiscard]] bool pull() const { return pull_; }
  [[nodiscard]] std::size_t count() const { return clients_.size(); }
  [[nodiscard]] std::uint64_t too_slow() const { return too_slow_; }
  [[nodiscard]] std::uint64_t requests() const { return requests_; }
  /// Whether so much waits for clients that the log is better read more slowly.
  [[nodiscard]] bool crowded() const { return backlog_.bytes() > backlog_bytes_max_ / 2; }

 private:
  friend class Client;
  [[nodiscard]] std::uint64_t oldest_kept() const;

  bool pull_;
  std::size_t backlog_bytes_max_;
  std::uint64_t keep_ = 0;
  Backlog backlog_;
  std::set<Client*> clients_;
  std::uint64_t too_slow_ = 0;
  std::uint64_t requests_ = 0;
};

/// Thread: the loop's. It has no timer of its own, so none can outlive it.
class Client final : public net::Protocol {
 public:
  explicit Client(Clients& of) : of_(of) {}
  ~Client() override { of_.clients_.erase(this); }

  void connection_made() override;
  void data_received(std::string_view data) override;
  void output_drained() override { send(); }
  void end_received() override { finish(); }
  void service_stops() override { finish(); }
  void connection_lost(const Error& reason) override;
  [[nodiscard]] bool owes_answer() const override {
    return !ended_ && (position_ < target_ || owed_ > 0 || finishing_);
  }

  /// Everything there is, from where the last push has ended.
  void push();
  /// Whether the backlog does not have its next hit any more; then it is ended.
  bool end_if_behind();
  [[nodiscard]] std::uint64_t position() const { return position_; }

 private:
  void send();
  void finish();

  Clients& of_;
  std::uint64_t position_ = 0;  ///< the number of the hit that it gets next
  std::uint64_t target_ = 0;    ///< up to here hits are due
  std::uint64_t owed_ = 0;      ///< requests that wait for their answer
  bool inside_ = false;         ///< the last bytes were a request without a newline
  bool finishing_ = false;      ///< after what is due the document ends
  bool ended_ = false;
};

}  // namespace tap::services::weblog
