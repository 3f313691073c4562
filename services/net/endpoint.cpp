#include "services/net/endpoint.hpp"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "state/base/suggest.hpp"

namespace tap::net {
namespace {

constexpr std::array kTypes{"tcp", "tcp6", "unix", "fd", "stdio", "udp", "udp6"};
constexpr std::array kPlannedTypes{"tls", "ssl", "systemd", "haproxy"};
constexpr unsigned kBacklogMax = 65'535;

Error wrong(std::string_view text, const std::string& why) {
  return Error{Fault::config, "endpoint '" + std::string(text) + "': " + why};
}

std::optional<unsigned> parse_number(std::string_view digits, int base, unsigned max) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (error != std::errc{} || end != digits.data() + digits.size() || number > max) return std::nullopt;
  return number;
}

/// Takes what it understands out of a text; what is left at the end is an error.
class Fields {
 public:
  Fields(std::string_view text, EndpointText parts) : text_(text), parts_(std::move(parts)) {}

  Result<std::string> value(const char* what) {
    if (parts_.values.empty() || parts_.values.front().empty()) return wrong(text_, std::string("it needs ") + what);
    std::string value = parts_.values.front();
    parts_.values.erase(parts_.values.begin());
    return value;
  }
  std::optional<std::string> option(const std::string& name) {
    const auto found = parts_.options.find(name);
    known_.push_back(name);
    if (found == parts_.options.end()) return std::nullopt;
    std::string value = found->second;
    parts_.options.erase(found);
    return value;
  }
  Result<void> nothing_left() {
    if (!parts_.values.empty()) return wrong(text_, "'" + parts_.values.front() + "' is one value too many");
    if (!parts_.options.empty()) {
      const std::string& name = parts_.options.begin()->first;
      return wrong(text_, "it has no option '" + name + "'" + did_you_mean(name, known_));
    }
    return {};
  }

 private:
  std::string_view text_;
  EndpointText parts_;
  std::vector<std::string> known_;
};

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
  const bool v6 = endpoint.is_v6();
  const bool datagram = endpoint.is_datagram();
  Result<std::string> port_text = fields.value(datagram ? "a port, as in udp:8888 (udp:0 takes a free one)"
                                                        : "a port, as in tcp:8888 (tcp:0 takes a free one)");
  if (!port_text) return std::move(port_text).error();
  const auto port = parse_number(*port_text, 10, 65'535);
  if (!port) return wrong(endpoint.text, "the port is a number from 0 to 65535, not '" + *port_text + "'");
  endpoint.port = static_cast<std::uint16_t>(*port);
  endpoint.interface = fields.option("interface").value_or("");
  if (endpoint.interface.empty()) endpoint.interface = v6 ? "::" : "0.0.0.0";
  std::array<unsigned char, sizeof(in6_addr)> raw{};
  if (::inet_pton(v6 ? AF_INET6 : AF_INET, endpoint.interface.c_str(), raw.data()) != 1) {
    return wrong(endpoint.text, "interface is a numeric " + std::string(v6 ? "IPv6" : "IPv4") + " address, not '" +
                                    endpoint.interface + "'");
  }
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

Result<Endpoint> parse_endpoint(std::string_view text) {
  Result<EndpointText> parts = split_endpoint(text);
  if (!parts) return std::move(parts).error();
  if (std::find(kPlannedTypes.begin(), kPlannedTypes.end(), parts->type) != kPlannedTypes.end()) {
    return wrong(text, "endpoints of type '" + parts->type + "' are not served yet by this version");
  }
  const auto type = std::find(kTypes.begin(), kTypes.end(), parts->type);
  if (type == kTypes.end()) {
    return wrong(text, "there is no endpoint type '" + parts->type +
                           "' (endpoints look like tcp:8888 or unix:/run/x.sock)" +
                           did_you_mean(parts->type, {kTypes.begin(), kTypes.end()}));
  }
  Endpoint endpoint;
  endpoint.type = static_cast<Endpoint::Type>(type - kTypes.begin());
  endpoint.text = text;
  Fields fields(text, std::move(parts).value());
  if (Result<void> taken = take_fields(fields, endpoint); !taken) return std::move(taken).error();
  if (Result<void> empty = fields.nothing_left(); !empty) return std::move(empty).error();
  return endpoint;
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
    case Endpoint::Type::stdio:
      return true;
  }
  return false;
}

}  // namespace tap::net
