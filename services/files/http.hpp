// FilesHttp: the same files by HTTP/1.1: GET and HEAD, with conditions and ranges.
//
// Source: RFC 9110.
// Tests: tests/services/files/http_test.cpp
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "services/files/place.hpp"
#include "services/files/sending.hpp"
#include "services/net/deferred.hpp"
#include "services/net/http/server_protocol.hpp"

namespace tap::services::files {

/// Lifetime: the place and the site outlive it.
class FilesHttp final : public net::HttpServerProtocol {
 public:
  FilesHttp(net::HttpSite& site, Place& place) : HttpServerProtocol(site), place_(place) {}

 private:
  void request_received(const net::HttpRequestHead& request, net::HttpAnswer answer) override;
  void request_lost(const Error& reason) override;

  [[nodiscard]] bool read_target(std::string_view target);
  void find(const std::string& name);
  void found(const Found& found);
  void found_directory();
  void list();
  void send_page(int status);
  void send_file(const std::shared_ptr<const OpenedFile>& file);
  void send_part(const std::shared_ptr<const OpenedFile>& file, std::uint64_t offset, std::uint64_t bytes);
  void send_more();

  Place& place_;
  net::HttpAnswer answer_;
  std::string name_;          ///< what was asked for, decoded, without slashes at its ends
  bool slash_ = false;        ///< it was asked for as a directory
  bool index_asked_ = false;  ///< what is looked for is the directory's index_file
  net::Deferred<void> looking_;
  net::Deferred<void> waiting_;  ///< for the pool
  std::optional<Sending> sending_;
};

}  // namespace tap::services::files
