// What the tests of the poetry kinds share: a poem on the disk, and a started service behind a real socket.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "tests/services/client.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

namespace tap::tests {

/// A file whose versions are a second apart each, and old: nobody has to wait until they are.
class PoemOnDisk {
 public:
  explicit PoemOnDisk(const std::string& text) { replace(text); }

  [[nodiscard]] const std::string& path() const { return path_; }
  /// As an editor does it, and mv: another file gets the name.
  void replace(const std::string& text) {
    write_text(path_ + ".new", text);
    age(path_ + ".new");
    REQUIRE(std::rename((path_ + ".new").c_str(), path_.c_str()) == 0);
  }
  /// As `>` does it in a shell.
  void write_over(const std::string& text) {
    write_text(path_, text);
    age(path_);
  }
  void remove() { REQUIRE(std::remove(path_.c_str()) == 0); }

 private:
  void age(const std::string& path) {
    const timespec time{1'000'000'000 + ++versions_, 0};
    const timespec both[2] = {time, time};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), both, 0) == 0);
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_ / "poem.txt";
  int versions_ = 0;
};

/// Different at every place that is not a multiple of 251.
inline std::string long_poem(std::size_t size, char first = ' ') {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(first + static_cast<char>(i % 251 % 90));
  return text;
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    (void)entry;
    ++count;
  }
  return count;
}

/// A service on a free port, on a loop whose time stands still.
struct Served {
  Loop loop;
  std::unique_ptr<services::Service> service;
  std::unique_ptr<Server> server;

  Served(const services::Kind& kind, const std::map<std::string, std::string>& options)
      : service(make_service(kind, options)) {
    start();
  }
  explicit Served(std::unique_ptr<services::Service> made) : service(std::move(made)) { start(); }
  ~Served() {
    server.reset();
    service->stop();
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  void start() {
    REQUIRE(service->start(loop.reactor).ok());
    server = std::make_unique<Server>(loop, *service);
  }
  [[nodiscard]] Peer connect() const { return Peer::tcp(server->port()); }
  /// Everything until the end, in order or not.
  [[nodiscard]] bool read_to_end(Peer& peer) {
    return loop.turn_until([&] { return peer.read_now(), peer.gone(); });
  }
  /// What a new client gets; "(reset)" when it does not end in order.
  [[nodiscard]] std::string told() {
    Peer peer = connect();
    REQUIRE(read_to_end(peer));
    return peer.error() == 0 ? peer.received() : "(reset)";
  }
  [[nodiscard]] bool read_until(Peer& peer, std::size_t bytes) {
    return loop.turn_until([&] { return peer.read_now(), peer.received().size() >= bytes; });
  }
  /// Time passes, and what happens in it happens.
  void pass(std::uint64_t ms, std::uint64_t step_ms = 1) {
    for (std::uint64_t gone = 0; gone < ms; gone += step_ms) {
      loop.clock.advance(step_ms);
      loop.turn(2);
    }
  }
  [[nodiscard]] std::string status() const {
    std::string text;
    for (const std::string& line : service->status()) text += line + "\n";
    return text;
  }
  [[nodiscard]] bool comes_to_say(const std::string& part) {
    return loop.turn_until([&] { return status().find(part) != std::string::npos; });
  }
};

}  // namespace tap::tests
