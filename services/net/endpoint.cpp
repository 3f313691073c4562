#include "services/net/endpoint.hpp"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <array>

#include "services/net/endpoint_fields.hpp"
#include "state/base/suggest.hpp"

namespace tap::net {
namespace {

/// In the order of Endpoint::Type; what follows is made of these.
constexpr std::array kTypes{"tcp", "tcp6", "unix", "fd", "stdio", "systemd", "udp", "udp6"};
constexpr std::array kComposedTypes{"tls", "ssl", "haproxy"};
constexpr unsigned kBacklogMax = 65'535;
constexpr unsigned kSystemdIndexMax = 4'095;
constexpr std::size_t kAlpnNamesMax = 16;
constexpr std::size_t kAlpnBytesMax = 255;

using Fields = EndpointFields;

Error wrong(std::string_view text, const std::string& why) { return endpoint_error(text, why); }

std::optional<unsigned> parse_number(std::string_view digits, int base, unsigned max) {
  return endpoint_number(digits, base, max);
}

Result<void> take_backlog(Fields& fields, Endpoint& endpoint) {
  const auto text = fields.option("backlog");
  if (!text) return {};
  const auto backlog = parse_number(*text, 10, kBacklogMax);
  if (!backlog || *backlog == 0)
    return wrong(endpoint.text, "backlog is a number from 1 to 65535, not '" + *text + "'");
  endpoint.backlog = static_cast<int>(*backlog);
  return {};
}

/// Port and interface, as TCP and UDP have them.
Result<void> take_port(Fields& fields, Endpoint& endpoint) {
  const bool datagram = endpoint.is_datagram();
  Result<std::string> port_text = fields.value(datagram ? "a port, as in udp:8888 (udp:0 takes a free one)"
                                                        : "a port, as in tcp:8888 (tcp:0 takes a free one)");
  if (!port_text) return std::move(port_text).error();
  const auto port = parse_number(*port_text, 10, 65'535);
  if (!port) return wrong(endpoint.text, "the port is a number from 0 to 65535, not '" + *port_text + "'");
  endpoint.port = static_cast<std::uint16_t>(*port);
  endpoint.interface = fields.option("interface").value_or("");
  if (endpoint.tls && endpoint.interface.find(':') != std::string::npos) endpoint.type = Endpoint::Type::tcp6;
  const bool v6 = endpoint.is_v6();
  if (endpoint.interface.empty()) endpoint.interface = v6 ? "::" : "0.0.0.0";
  std::array<unsigned char, sizeof(in6_addr)> raw{};
  if (::inet_pton(v6 ? AF_INET6 : AF_INET, endpoint.interface.c_str(), raw.data()) != 1) {
    return wrong(endpoint.text, "interface is a numeric " + std::string(v6 ? "IPv6" : "IPv4") + " address, not '" +
                                    endpoint.interface + "'");
  }
  return {};
}

Result<void> take_client_verify(Fields& fields, Endpoint& endpoint) {
  using ClientVerify = TlsServerSettings::ClientVerify;
  TlsServerSettings& tls = *endpoint.tls;
  const auto verify = fields.option("clientVerify");
  if (tls.client_ca.empty()) {
    return verify ? wrong(endpoint.text, "clientVerify needs clientCA, the file with the roots") : Result<void>();
  }
  tls.client_verify = ClientVerify::require;
  if (!verify || *verify == "require") return {};
  if (*verify != "optional") return wrong(endpoint.text, "clientVerify is require or optional, not '" + *verify + "'");
  tls.client_verify = ClientVerify::optional;
  return {};
}

/// Twisted's words where it has them; the certificate may stand in the private key's file.
Result<void> take_tls(Fields& fields, Endpoint& endpoint) {
  TlsServerSettings& tls = endpoint.tls.emplace();
  const struct {
    const char* name;
    std::string& into;
  } files[] = {{"privateKey", tls.private_key},
               {"certKey", tls.certificate},
               {"extraCertChain", tls.extra_chain},
               {"clientCA", tls.client_ca},
               {"sni", tls.sni_directory}};
  for (const auto& file : files) {
    Result<std::string> path = fields.file(file.name);
    if (!path) return std::move(path).error();
    file.into = std::move(path).value();
  }
  if (tls.private_key.empty()) return wrong(endpoint.text, "it needs privateKey=FILE (PEM)");
  if (tls.certificate.empty()) tls.certificate = tls.private_key;
  if (const auto names = fields.option("alpn")) {
    Result<std::vector<std::string>> alpn = split_alpn(endpoint.text, *names);
    if (!alpn) return std::move(alpn).error();
    tls.alpn = std::move(alpn).value();
  }
  return take_client_verify(fields, endpoint);
}

Result<void> take_systemd(Fields& fields, Endpoint& endpoint) {
  endpoint.socket_name = fields.option("name").value_or("");
  endpoint.socket_domain = fields.option("domain").value_or("");
  const auto index = fields.option("index");
  if (endpoint.socket_name.empty() && !index) {
    return wrong(endpoint.text, "it needs name=NAME (FileDescriptorName= of the socket unit), or domain=INET:index=0");
  }
  const std::string& domain = endpoint.socket_domain;
  if (!domain.empty() && domain != "INET" && domain != "INET6" && domain != "UNIX") {
    return wrong(endpoint.text, "domain is INET, INET6 or UNIX, not '" + domain + "'");
  }
  if (!index) return {};
  const auto number = parse_number(*index, 10, kSystemdIndexMax);
  if (!number) {
    return wrong(endpoint.text,
                 "index is a number from 0 to " + std::to_string(kSystemdIndexMax) + ", not '" + *index + "'");
  }
  endpoint.socket_index = *number;
  return {};
}

Result<void> take_unix(Fields& fields, Endpoint& endpoint) {
  Result<std::string> path = fields.value("a path, as in unix:/run/tapd/fib.sock");
  if (!path) return std::move(path).error();
  if (path->size() >= sizeof(sockaddr_un::sun_path)) {
    return wrong(endpoint.text, "the path has " + std::to_string(path->size()) + " bytes, the system takes at most " +
                                    std::to_string(sizeof(sockaddr_un::sun_path) - 1));
  }
  endpoint.path = std::move(path).value();
  if (const auto text = fields.option("mode")) {
    endpoint.mode = parse_number(*text, 8, 0777);
    if (!endpoint.mode) return wrong(endpoint.text, "mode is octal, from 0 to 777, not '" + *text + "'");
  }
  return {};
}

Result<void> take_fd(Fields& fields, Endpoint& endpoint) {
  Result<std::string> text = fields.value("a descriptor's number, as in fd:3");
  if (!text) return std::move(text).error();
  const auto number = parse_number(*text, 10, 1'000'000);
  if (!number) return wrong(endpoint.text, "'" + *text + "' is not a descriptor's number");
  endpoint.fd = static_cast<int>(*number);
  return {};
}

Result<void> take_fields(Fields& fields, Endpoint& endpoint) {
  switch (endpoint.type) {
    case Endpoint::Type::tcp:
    case Endpoint::Type::tcp6:
      if (Result<void> taken = take_port(fields, endpoint); !taken) return taken;
      return take_backlog(fields, endpoint);
    case Endpoint::Type::udp:
    case Endpoint::Type::udp6:
      return take_port(fields, endpoint);
    case Endpoint::Type::unix_socket:
      if (Result<void> taken = take_unix(fields, endpoint); !taken) return taken;
      return take_backlog(fields, endpoint);
    case Endpoint::Type::fd:
      return take_fd(fields, endpoint);
    case Endpoint::Type::systemd:
      return take_systemd(fields, endpoint);
    case Endpoint::Type::stdio:
      return {};
  }
  return {};
}

}  // namespace

Result<EndpointText> split_endpoint(std::string_view text) {
  EndpointText parts;
  std::vector<std::string> fields{""};
  std::vector<std::size_t> equals{std::string::npos};  // of each field, where its first '=' that is not escaped stands
  bool bracketed = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\0') return wrong("", "it holds a NUL byte");
    if (c == '\\') {
      if (++i == text.size()) return wrong(text, "it ends in the middle of an escape");
      fields.back() += text[i];
    } else if (c == '[' && (fields.back().empty() || fields.back().back() == '=')) {
      bracketed = true;
    } else if (c == ']' && bracketed) {
      bracketed = false;
    } else if (c == ':' && !bracketed) {
      fields.emplace_back();
      equals.push_back(std::string::npos);
    } else {
      if (c == '=' && equals.back() == std::string::npos) equals.back() = fields.back().size();
      fields.back() += c;
    }
  }
  if (bracketed) return wrong(text, "a '[' is never closed");
  if (fields.size() > 1 && fields.back().empty()) fields.pop_back();  // "stdio:"
  parts.type = fields.front();
  for (std::size_t i = 1; i < fields.size(); ++i) {
    const std::string name = fields[i].substr(0, equals[i]);
    if (equals[i] == std::string::npos) {
      parts.values.push_back(fields[i]);
    } else if (!parts.options.emplace(name, fields[i].substr(equals[i] + 1)).second) {
      return wrong(text, "'" + name + "' stands twice");
    }
  }
  return parts;
}

namespace {

/// "haproxy:" and any other endpoint.
Result<Endpoint> parse_proxied(std::string_view text) {
  const std::string_view inner = text.substr(std::min(text.size(), text.find(':') + 1));
  if (inner.empty() || inner == text)
    return wrong(text, "it needs the endpoint behind the proxy, as in haproxy:tcp:8888");
  Result<Endpoint> endpoint = parse_endpoint(inner);
  if (!endpoint) return endpoint;
  if (endpoint->proxied) return wrong(text, "haproxy: stands twice; one proxy's header is read");
  if (endpoint->is_datagram()) return wrong(text, "a PROXY header comes before connections, not before datagrams");
  if (endpoint->type == Endpoint::Type::stdio) return wrong(text, "standard input has no proxy before it");
  endpoint->proxied = true;
  endpoint->text = text;
  return endpoint;
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
  Result<EndpointText> parts = split_endpoint(text);
  if (!parts) return std::move(parts).error();
  if (parts->type == "haproxy") return parse_proxied(text);
  const bool tls = parts->type == "tls" || parts->type == "ssl";
  const auto type = tls ? kTypes.begin() : std::find(kTypes.begin(), kTypes.end(), parts->type);
  if (type == kTypes.end()) {
    std::vector<std::string> known(kTypes.begin(), kTypes.end());
    known.insert(known.end(), kComposedTypes.begin(), kComposedTypes.end());
    return wrong(text, "there is no endpoint type '" + parts->type +
                           "' (endpoints look like tcp:8888 or unix:/run/x.sock)" + did_you_mean(parts->type, known));
  }
  Endpoint endpoint;
  endpoint.type = static_cast<Endpoint::Type>(type - kTypes.begin());
  endpoint.text = text;
  Fields fields(text, std::move(parts).value());
  if (tls) {
    if (Result<void> taken = take_tls(fields, endpoint); !taken) return std::move(taken).error();
  }
  if (Result<void> taken = take_fields(fields, endpoint); !taken) return std::move(taken).error();
  if (Result<void> empty = fields.nothing_left(); !empty) return std::move(empty).error();
  return endpoint;
}

Result<std::vector<std::string>> split_alpn(std::string_view text, const std::string& names) {
  std::vector<std::string> all;
  for (std::size_t begin = 0; begin <= names.size();) {
    const std::size_t end = std::min(names.find(',', begin), names.size());
    all.push_back(names.substr(begin, end - begin));
    if (all.back().empty() || all.back().size() > kAlpnBytesMax || all.size() > kAlpnNamesMax) {
      return wrong(text, "alpn is a list of at most " + std::to_string(kAlpnNamesMax) +
                             " names with commas between, as in alpn=h2,http/1.1, not '" + names + "'");
    }
    begin = end + 1;
  }
  return all;
}

void TlsServerSettings::resolve(const std::string& directory) {
  for (std::string* path : {&private_key, &certificate, &extra_chain, &client_ca, &sni_directory}) {
    if (!path->empty() && path->front() != '/') path->insert(0, directory + "/");
  }
}

std::string endpoint_prefix(const Endpoint& endpoint) {
  std::string prefix = endpoint.proxied ? "haproxy:" : "";
  if (endpoint.tls) return prefix + "tls:";
  if (endpoint.type == Endpoint::Type::tcp) return prefix + "tcp:";
  if (endpoint.type == Endpoint::Type::tcp6) return prefix + "tcp6:";
  return prefix;
}

bool conflict(const Endpoint& a, const Endpoint& b) {
  if (a.type != b.type) return false;
  switch (a.type) {
    case Endpoint::Type::tcp:
    case Endpoint::Type::tcp6:
    case Endpoint::Type::udp:
    case Endpoint::Type::udp6: {
      const char* any = a.is_v6() ? "::" : "0.0.0.0";
      return a.port != 0 && a.port == b.port &&
             (a.interface == b.interface || a.interface == any || b.interface == any);
    }
    case Endpoint::Type::unix_socket:
      return a.path == b.path;
    case Endpoint::Type::fd:
      return a.fd == b.fd;
    case Endpoint::Type::systemd:
      return a.socket_name == b.socket_name && a.socket_index == b.socket_index;
    case Endpoint::Type::stdio:
      return true;
  }
  return false;
}

}  // namespace tap::net
