// What the tests of the file service share: a directory with a secret beside it, a started service, and its clients.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>

#include "services/files/files.hpp"
#include "services/testing/transport_pair.hpp"
#include "tests/services/client.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

namespace tap::tests {

/// root/ is served, secret and outside/ are beside it.
struct FilesWorld {
  TemporaryDirectory directory;
  std::string root = directory / "root";
  Loop loop;
  std::unique_ptr<services::Service> service;

  using Given = std::map<std::string, std::string>;
  explicit FilesWorld(Given options = {}) {
    for (const char* name : {"root", "root/sub", "outside"}) REQUIRE(::mkdir((directory / name).c_str(), 0755) == 0);
    write_text(directory / "secret", "SECRET");
    write_text(directory / "outside/secret", "SECRET");
    put("a.txt", "hello\n");
    put("sub/b.html", "<p>b");
    options["root"] = root;
    options["http"] = "tcp:2";
    service = make_service(services::files_kind(), options);
    REQUIRE(service->start(loop.reactor).ok());
  }
  ~FilesWorld() { service->stop(); }
  FilesWorld(const FilesWorld&) = delete;
  FilesWorld& operator=(const FilesWorld&) = delete;

  /// Last changed an hour ago, so that it has a strong etag.
  void put(const std::string& name, const std::string& content) {
    write_text(root + "/" + name, content);
    const timespec then{::time(nullptr) - 3600, 0};
    const timespec times[2] = {then, then};
    REQUIRE(::utimensat(AT_FDCWD, (root + "/" + name).c_str(), times, 0) == 0);
  }
  void link(const std::string& to, const std::string& name) {
    REQUIRE(::symlink(to.c_str(), (root + "/" + name).c_str()) == 0);
  }
};

/// One client, by lines or by HTTP.
struct FilesClient {
  FilesWorld& world;
  testing::TransportPair pair;

  FilesClient(FilesWorld& of, const std::string& endpoint)
      : world(of), pair(of.service->factory_for(endpoint).build_protocol()) {}
  static FilesClient lines(FilesWorld& world) { return {world, "tcp:1"}; }
  static FilesClient http(FilesWorld& world) { return {world, "tcp:2"}; }

  /// Sends, and waits until so many bytes have come, or the connection is over; what has come.
  std::string until(const std::string& request, const std::function<bool(const std::string&)>& enough) {
    pair.peer().send(request);
    CHECK(world.loop.turn_until([&] {
      pair.run();
      return enough(pair.peer().received()) || pair.peer().lost().has_value();
    }));
    return pair.peer().take_received();
  }
  /// For an answer of one line.
  std::string line(const std::string& request) {
    return until(request, [](const std::string& got) { return got.find('\n') != std::string::npos; });
  }
  /// For an answer with a known end.
  std::string through(const std::string& request, const std::string& end) {
    return until(request, [&](const std::string& got) { return got.size() >= end.size() && got.ends_with(end); });
  }
  /// An HTTP answer with all its body.
  std::string ask(const std::string& method, const std::string& path, const std::string& fields = "") {
    const bool head = method == "HEAD";
    return until(method + " " + path + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n", [head](const std::string& got) {
      const std::size_t end = got.find("\r\n\r\n");
      if (end == std::string::npos) return false;
      const std::size_t at = got.find("Content-Length: ");
      if (head || at == std::string::npos || at > end) return true;
      return got.size() >= end + 4 + std::stoull(got.substr(at + 16));
    });
  }
};

inline std::string body_of(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }
inline std::string status_of(const std::string& answer) { return answer.substr(9, 3); }
/// Of the head; empty when it is not there.
inline std::string field_of(const std::string& answer, const std::string& name) {
  const std::size_t at = answer.find("\r\n" + name + ": ");
  if (at == std::string::npos || at > answer.find("\r\n\r\n")) return {};
  const std::size_t begin = at + name.size() + 4;
  return answer.substr(begin, answer.find("\r\n", begin) - begin);
}

}  // namespace tap::tests
