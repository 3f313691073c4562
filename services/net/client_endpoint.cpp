#include "services/net/client_endpoint.hpp"

#include <arpa/inet.h>
#include <sys/un.h>

#include <array>

#include "services/net/endpoint_fields.hpp"

namespace tap::net {
namespace {

using Fields = EndpointFields;

bool numeric_address(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> raw{};
  return ::inet_pton(AF_INET, text.c_str(), raw.data()) == 1 || ::inet_pton(AF_INET6, text.c_str(), raw.data()) == 1;
}

Result<void> take_timeout(Fields& fields, ClientEndpoint& endpoint) {
  const auto text = fields.option("timeout");
  if (!text) return {};
  const auto seconds = endpoint_number(*text, 10, ClientEndpoint::kTimeoutSecondsMax);
  if (!seconds || *seconds == 0) {
    return endpoint_error(endpoint.text, "timeout is a number of seconds from 1 to " +
                                             std::to_string(ClientEndpoint::kTimeoutSecondsMax) + ", not '" + *text +
                                             "'");
  }
  endpoint.timeout_ms = std::uint64_t{*seconds} * 1000;
  return {};
}

Result<void> take_tcp(Fields& fields, ClientEndpoint& endpoint) {
  Result<std::string> host = fields.value("a host and a port, as in tcp:example.org:80");
  if (!host) return std::move(host).error();
  if (host->size() > ClientEndpoint::kHostBytesMax) return endpoint_error(endpoint.text, "the host's name is too long");
  endpoint.host = std::move(host).value();
  Result<std::string> port_text = fields.value("a port, as in tcp:example.org:80");
  if (!port_text) return std::move(port_text).error();
  const auto port = endpoint_number(*port_text, 10, 65'535);
  if (!port || *port == 0) {
    return endpoint_error(endpoint.text, "the port is a number from 1 to 65535, not '" + *port_text + "'");
  }
  endpoint.port = static_cast<std::uint16_t>(*port);
  endpoint.bind_address = fields.option("bindAddress").value_or("");
  if (!endpoint.bind_address.empty() && !numeric_address(endpoint.bind_address)) {
    return endpoint_error(endpoint.text, "bindAddress is a numeric address, not '" + endpoint.bind_address + "'");
  }
  return {};
}

Result<void> take_tls(Fields& fields, ClientEndpoint& endpoint) {
  TlsClientSettings& tls = endpoint.tls.emplace();
  const struct {
    const char* name;
    std::string& into;
  } files[] = {{"trustRoots", tls.trust_roots}, {"certificate", tls.certificate}, {"privateKey", tls.private_key}};
  for (const auto& file : files) {
    Result<std::string> path = fields.file(file.name);
    if (!path) return std::move(path).error();
    file.into = std::move(path).value();
  }
  if (tls.certificate.empty() && !tls.private_key.empty()) {
    return endpoint_error(endpoint.text, "privateKey needs certificate, the file with what is shown");
  }
  tls.server_name = fields.option("serverName").value_or("");
  if (tls.server_name.empty()) tls.server_name = endpoint.host;
  if (const auto names = fields.option("alpn")) {
    Result<std::vector<std::string>> alpn = split_alpn(endpoint.text, *names);
    if (!alpn) return std::move(alpn).error();
    tls.alpn = std::move(alpn).value();
  }
  const auto verify = fields.option("verify");
  if (verify && *verify != "yes" && *verify != "no") {
    return endpoint_error(endpoint.text, "verify is yes or no, not '" + *verify + "'");
  }
  tls.verify = verify != "no";
  return {};
}

Result<void> take_unix(Fields& fields, ClientEndpoint& endpoint) {
  Result<std::string> path = fields.value("a path, as in unix:/run/tapd/fib.sock");
  if (!path) return std::move(path).error();
  if (path->size() >= sizeof(sockaddr_un::sun_path)) {
    return endpoint_error(endpoint.text, "the path has " + std::to_string(path->size()) +
                                             " bytes, the system takes at most " +
                                             std::to_string(sizeof(sockaddr_un::sun_path) - 1));
  }
  endpoint.path = std::move(path).value();
  return {};
}

Result<void> take_fields(Fields& fields, ClientEndpoint& endpoint, bool tls) {
  const bool tcp = endpoint.type == ClientEndpoint::Type::tcp;
  Result<void> taken = tcp ? take_tcp(fields, endpoint) : take_unix(fields, endpoint);
  if (taken && tls) taken = take_tls(fields, endpoint);
  if (taken) taken = take_timeout(fields, endpoint);
  return taken ? fields.nothing_left() : taken;
}

}  // namespace

Result<ClientEndpoint> parse_client_endpoint(std::string_view text) {
  Result<EndpointText> parts = split_endpoint(text);
  if (!parts) return std::move(parts).error();
  const bool tls = parts->type == "tls" || parts->type == "ssl";
  if (!tls && parts->type != "tcp" && parts->type != "unix") {
    return endpoint_error(text,
                          "there is no type '" + parts->type +
                              "' of endpoint to connect to (they look like tcp:example.org:80 or unix:/run/x.sock)" +
                              did_you_mean(parts->type, {"tcp", "unix", "tls", "ssl"}));
  }
  ClientEndpoint endpoint;
  endpoint.type = parts->type == "unix" ? ClientEndpoint::Type::unix_socket : ClientEndpoint::Type::tcp;
  endpoint.text = text;
  Fields fields(text, std::move(parts).value());
  if (Result<void> taken = take_fields(fields, endpoint, tls); !taken) return std::move(taken).error();
  return endpoint;
}

void TlsClientSettings::resolve(const std::string& directory) {
  for (std::string* path : {&trust_roots, &certificate, &private_key}) {
    if (!path->empty() && path->front() != '/') path->insert(0, directory + "/");
  }
}

}  // namespace tap::net
