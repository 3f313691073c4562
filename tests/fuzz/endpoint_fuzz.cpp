// Whatever is typed as an endpoint, to listen at or to connect to, is one or a sentence.
#include <cstddef>
#include <cstdint>

#include "services/net/client_endpoint.hpp"
#include "services/net/endpoint.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto server = tap::net::parse_endpoint(text);
  if (server.ok()) {
    TAP_ASSERT(server->text == text && server->backlog >= 1);
    TAP_ASSERT(!server->tls || !server->tls->private_key.empty());
    TAP_ASSERT(tap::net::conflict(*server, *server) == tap::net::conflict(*tap::net::parse_endpoint(text), *server));
  } else {
    TAP_ASSERT(server.error().fault == tap::Fault::config && !server.error().message.empty());
  }
  const auto client = tap::net::parse_client_endpoint(text);
  if (client.ok()) {
    TAP_ASSERT(client->text == text && client->timeout_ms >= 1'000);
    TAP_ASSERT(client->type == tap::net::ClientEndpoint::Type::unix_socket ? !client->path.empty() : client->port != 0);
    TAP_ASSERT(!client->tls || !client->tls->server_name.empty());
  } else {
    TAP_ASSERT(client.error().fault == tap::Fault::config && !client.error().message.empty());
  }
  return 0;
}
