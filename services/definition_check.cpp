#include "services/definition_check.hpp"

#include <set>
#include <vector>

#include "services/command_line.hpp"
#include "services/durability.hpp"
#include "services/limits.hpp"

namespace tap::services {
namespace {

Error wrong(std::string message) { return Error{Fault::config, std::move(message)}; }

Result<void> check_endpoints(const state::ServiceDefinition& service, const Kind& kind,
                             std::vector<net::Endpoint>& taken) {
  if (service.listen.empty()) return wrong("it listens nowhere");
  for (const std::string& text : service.listen) {
    Result<net::Endpoint> endpoint = net::parse_endpoint(text);
    if (!endpoint) return std::move(endpoint).error();
    if (Result<void> speaks = check_speaks(kind, *endpoint); !speaks) return speaks;
    for (const net::Endpoint& other : taken) {
      if (net::conflict(other, *endpoint)) return wrong(text + " and " + other.text + " are one place");
    }
    taken.push_back(std::move(endpoint).value());
  }
  return {};
}

Result<void> check_service(const state::Definition& definition, const state::ServiceDefinition& service,
                           const Registry& kinds, std::vector<net::Endpoint>& taken) {
  if (!state::is_name(service.name)) return wrong("this is not a name");
  const Kind* kind = kinds.find(service.kind);
  if (kind == nullptr) return wrong(kinds.unknown(service.kind));
  if (Result<Options> options = kind->check(service.options, service.listen); !options)
    return std::move(options).error();
  if (Result<void> durability = check_durability(service.durability); !durability) return durability;
  const bool reserve = durability_of(definition, service).mode == Durability::Mode::reserve;
  if (reserve && kind->state != nullptr && !kind->can_reserve) {
    return wrong("durability 'reserve' is for counters, and kind '" + kind->name + "' is none");
  }
  if (service.connections_max == 0) return wrong("max_connections is 0");
  if (Result<void> limits = check_limits(service_limits(), service.limits); !limits) return limits;
  if (Result<void> limits = check_limits_together(service.limits); !limits) return limits;
  return check_endpoints(service, *kind, taken);
}

}  // namespace

Result<void> check_speaks(const Kind& kind, const net::Endpoint& endpoint) {
  if (!endpoint.is_datagram() || kind.speaks_datagrams) return {};
  return wrong("endpoint '" + endpoint.text + "': the kind '" + kind.name +
               "' does not speak datagrams; give it tcp: or unix: endpoints");
}

Result<void> check_definition(const state::Definition& definition, const Registry& kinds) {
  if (!state::is_name(definition.name)) return wrong("'" + definition.name + "' cannot name an application");
  if (Result<void> durability = check_durability(definition.durability); !durability) return durability;
  if (definition.stop_timeout_ms > kStopTimeoutMsMax) return wrong("stop_timeout is at most an hour");
  if (Result<void> limits = check_limits(application_limits(), definition.limits); !limits) return limits;
  std::set<std::string> names;
  std::vector<net::Endpoint> taken;
  for (const state::ServiceDefinition& service : definition.services) {
    if (Result<void> checked = check_service(definition, service, kinds, taken); !checked) {
      return std::move(checked.error()).with("service '" + service.name + "'");
    }
    if (!names.insert(service.name).second) return wrong("there are two services named '" + service.name + "'");
  }
  return {};
}

Result<void> check_states(const state::Archive& archive, const Registry& kinds) {
  for (const state::Section& section : archive.sections) {
    const Kind* kind = kinds.find(section.kind);
    if (kind == nullptr || kind->state == nullptr) continue;
    if (Result<void> checked = kind->state->check(section.payload, section.schema_version); !checked) {
      return std::move(checked.error()).with("the state of service '" + section.service + "'");
    }
  }
  return {};
}

}  // namespace tap::services
