#include "daemon/config.hpp"

#include <fcntl.h>
#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "services/command_line.hpp"
#include "services/definition_check.hpp"
#include "services/limits.hpp"
#include "services/net/endpoint.hpp"
#include "services/net/tls_context.hpp"
#include "services/units.hpp"
#include "state/base/suggest.hpp"
#include "state/files.hpp"

namespace tap::daemon {
namespace {

constexpr std::uint64_t kStopTimeoutMsMax = 3'600'000;
constexpr unsigned kKeyPartsMax = 1000;

/// The line of a key with very many dots, or 0: toml++ limits the nesting of values, but not that of keys, and frees
/// tables within tables by recursion.
unsigned line_of_endless_key(const std::string& text) {
  unsigned line = 1;
  unsigned dots = 0;
  for (const char c : text) {
    if (c == '.' && ++dots > kKeyPartsMax) return line;
    if (c != '\n') continue;
    ++line;
    dots = 0;
  }
  return 0;
}

/// A value as the text its option would have on a command line; empty for tables and arrays.
std::optional<std::string> scalar_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) {
    std::string text = std::to_string(number->get());
    text.erase(text.find_last_not_of('0') + 1);
    if (!text.empty() && text.back() == '.') text.pop_back();
    return text;
  }
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

/// An array of strings as an option's list is kept, a line each; one string is a list too.
std::optional<std::string> list_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  const toml::array* array = node.as_array();
  if (array == nullptr) return std::nullopt;
  std::string lines;
  for (const toml::node& item : *array) {
    const auto* text = item.as_string();
    if (text == nullptr || text->get().find('\n') != std::string::npos) return std::nullopt;
    lines += (lines.empty() ? "" : "\n") + text->get();
  }
  return lines;
}

class Reader {
 public:
  Reader(ConfigReading& reading, const std::string& file, const services::Registry& kinds, const ConfigPlugins& plugins,
         const std::string& directory)
      : reading_(reading), file_(file), kinds_(kinds), plugins_(plugins), directory_(directory) {}

  void read(const toml::table& root) {
    check_keys(root, {"application", "service"}, "at the top level");
    state::Definition& definition = reading_.definition;
    definition.name = std::filesystem::path(file_).stem().string();
    if (const toml::node* node = root.get("application")) {
      if (const toml::table* table = node->as_table()) read_application(*table);
      else problem(*node, "'application' is a table: write [application]");
    }
    if (!state::is_name(definition.name)) {
      problem(root, "'" + definition.name + "' cannot name an application; give [application] a name");
    }
    const toml::node* services = root.get("service");
    if (services == nullptr) {
      problem(root, "there is no [[service]]");
    } else if (const toml::array* array = services->as_array(); array != nullptr && array->is_array_of_tables()) {
      for (const toml::node& service : *array) read_service(*service.as_table());
    } else {
      problem(*services, "'service' is an array of tables: write [[service]]");
    }
    sort_problems();
  }

 private:
  struct Place {
    std::string service;
    net::Endpoint endpoint;
  };

  void problem(const toml::node& where, std::string message) {
    const toml::source_position at = where.source().begin;
    reading_.problems.push_back({file_, std::max(at.line, 1U), std::max(at.column, 1U), std::move(message)});
  }

  void check_keys(const toml::table& table, const std::vector<std::string>& known, const std::string& where) {
    for (const auto& [key, value] : table) {
      if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
      const toml::source_position at = key.source().begin;
      reading_.problems.push_back(
          {file_, at.line, at.column,
           "there is no key '" + std::string(key.str()) + "' " + where + did_you_mean(key.str(), known)});
    }
  }

  /// The string at `key`; nullopt when it is not there, or is something else (then that is said).
  std::optional<std::string> text(const toml::table& table, const char* key) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return std::nullopt;
    if (const auto* value = node->as_string()) return value->get();
    problem(*node, std::string("'") + key + "' is a string, not " + type_of(*node));
    return std::nullopt;
  }

  void take_duration(const toml::table& table, const char* key, std::uint64_t& into) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return;
    const auto value = scalar_text(*node);
    const auto duration = value && !node->is_boolean() ? services::parse_duration_ms(*value) : std::nullopt;
    if (duration) into = *duration;
    else
      problem(*node,
              std::string("'") + key + "' is a duration such as \"300ms\", \"5s\", \"5min\" or a number of seconds");
  }

  void take_durability(const toml::table& table, std::string& into) {
    const auto value = text(table, "durability");
    if (!value) return;
    into = *value;
    if (Result<void> checked = services::check_durability(*value); !checked) {
      problem(*table.get("durability"), checked.error().message);
    }
  }

  static std::vector<std::string> with_limits(std::vector<std::string> keys,
                                              const std::vector<services::LimitSpec>& specs) {
    for (const services::LimitSpec& spec : specs) keys.emplace_back(spec.name);
    return keys;
  }

  void take_limits(const toml::table& table, const std::vector<services::LimitSpec>& specs, state::Limits& into) {
    for (const services::LimitSpec& spec : specs) {
      const toml::node* node = table.get(spec.name);
      if (node == nullptr) continue;
      const auto given = scalar_text(*node);
      const bool fits =
          given && !node->is_boolean() && (spec.unit != services::LimitSpec::Unit::count || node->is_integer());
      const Result<std::uint64_t> value =
          fits ? spec.parse(*given)
               : Result<std::uint64_t>(Error{Fault::config, "it is " + type_of(*node) + ", not " + spec.bounds()});
      if (!value) problem(*node, "'" + std::string(spec.name) + "': " + value.error().message);
      else if (*value != 0) into[std::string(spec.name)] = *value;
    }
  }

  static std::string type_of(const toml::node& node) {
    if (node.is_table()) return "a table";
    if (node.is_array()) return "an array";
    if (node.is_string()) return "a string";
    if (node.is_integer()) return "a whole number";
    if (node.is_floating_point()) return "a number";
    if (node.is_boolean()) return "a boolean";
    return "a date or time";
  }

  void read_application(const toml::table& table) {
    check_keys(table, with_limits({"name", "durability", "stop_timeout", "plugin"}, services::application_limits()),
               "in [application]");
    state::Definition& definition = reading_.definition;
    read_plugins(table);
    if (const auto name = text(table, "name")) {
      definition.name = *name;
      if (!state::is_name(*name)) {
        problem(*table.get("name"), "'" + *name + "' is not a name (letters, digits, '.', '_', '-'; at most 64)");
        definition.name = "Application";
      }
    }
    take_durability(table, definition.durability);
    take_duration(table, "stop_timeout", definition.stop_timeout_ms);
    take_limits(table, services::application_limits(), definition.limits);
    if (definition.stop_timeout_ms > kStopTimeoutMsMax) {
      problem(*table.get("stop_timeout"), "'stop_timeout' is at most an hour");
    }
  }

  /// Before the services: they may be of kinds that are found there.
  void read_plugins(const toml::table& table) {
    const toml::node* node = table.get("plugin");
    if (node == nullptr) return;
    if (const toml::array* array = node->as_array()) {
      for (const toml::node& item : *array) load_plugin(item);
    } else {
      load_plugin(*node);
    }
  }

  void load_plugin(const toml::node& node) {
    const auto* path = node.as_string();
    if (path == nullptr) {
      problem(node, "'plugin' is the path of a shared object, or an array of such paths, not " + type_of(node));
    } else if (path->get().empty()) {
      problem(node, "'plugin' is an empty path");
    } else if (plugins_.plugins == nullptr) {
      problem(node, "plugins cannot be loaded here");
    } else if (Result<void> loaded =
                   plugins_.plugins->load((std::filesystem::path(plugins_.directory) / path->get()).string());
               !loaded) {
      problem(node, loaded.error().message);
    }
  }

  void read_service(const toml::table& table) {
    check_keys(table,
               with_limits({"name", "kind", "listen", "durability", "max_connections", "idle_timeout", "options"},
                           services::service_limits()),
               "in [[service]]");
    const std::size_t problems_before = reading_.problems.size();
    state::ServiceDefinition service;
    read_name(table, service);
    const services::Kind* kind = read_kind(table, service);
    read_listen(table, kind, service);
    take_durability(table, service.durability);
    take_duration(table, "idle_timeout", service.idle_timeout_ms);
    take_limits(table, services::service_limits(), service.limits);
    Result<void> together = services::check_limits_together(service.limits);
    if (!together && !table.contains("connect_rate")) {
      problem(*table.get("connect_burst"), together.error().message);
    }
    if (const toml::node* node = table.get("max_connections")) {
      const auto* number = node->as_integer();
      if (number == nullptr || number->get() < 1) problem(*node, "'max_connections' is a whole number above 0");
      else service.connections_max = static_cast<std::uint64_t>(number->get());
    }
    const toml::node* options = table.get("options");
    if (options == nullptr) need_options(table, nullptr, kind);
    else if (const toml::table* as_table = options->as_table()) read_options(*as_table, kind, service);
    else problem(*options, "'options' is a table: write [service.options]");
    if (reading_.problems.size() == problems_before) check_together(table, kind, service);
    reading_.definition.services.push_back(std::move(service));
  }

  void read_name(const toml::table& table, state::ServiceDefinition& service) {
    const auto name = text(table, "name");
    if (!name) {
      if (!table.contains("name")) problem(table, "this [[service]] has no name");
      return;
    }
    service.name = *name;
    if (!state::is_name(*name)) {
      problem(*table.get("name"), "'" + *name + "' is not a name (letters, digits, '.', '_', '-'; at most 64)");
    } else if (!names_.insert(*name).second) {
      problem(*table.get("name"), "there are two services named '" + *name + "'");
    }
  }

  const services::Kind* read_kind(const toml::table& table, state::ServiceDefinition& service) {
    const auto name = text(table, "kind");
    if (!name) {
      if (!table.contains("kind")) problem(table, "this [[service]] has no kind");
      return nullptr;
    }
    service.kind = *name;
    const services::Kind* kind = kinds_.find(*name);
    if (kind == nullptr) problem(*table.get("kind"), kinds_.unknown(*name));
    return kind;
  }

  void read_listen(const toml::table& table, const services::Kind* kind, state::ServiceDefinition& service) {
    const toml::node* node = table.get("listen");
    if (node == nullptr) {
      problem(table, "this [[service]] has no 'listen', for example listen = [\"tcp:8888\"]");
      return;
    }
    const toml::array* array = node->as_array();
    if (array == nullptr || array->empty()) {
      problem(*node, "'listen' is an array of endpoints, for example [\"tcp:8888\"]");
      return;
    }
    for (const toml::node& item : *array) {
      const auto* endpoint_text = item.as_string();
      if (endpoint_text == nullptr) {
        problem(item, "an endpoint is a string, not " + type_of(item));
        continue;
      }
      Result<net::Endpoint> endpoint = net::parse_endpoint(endpoint_text->get());
      if (!endpoint) {
        problem(item, endpoint.error().message);
        continue;
      }
      if (kind != nullptr) {
        if (Result<void> speaks = services::check_speaks(*kind, *endpoint); !speaks)
          problem(item, speaks.error().message);
      }
      check_keys_of(item, *endpoint);
      service.listen.push_back(endpoint_text->get());
      check_free(item, service.name, std::move(endpoint).value());
    }
  }

  /// What is wrong with a key is found now, where its place in the config is known.
  void check_keys_of(const toml::node& where, net::Endpoint& endpoint) {
    if (!endpoint.tls) return;
    endpoint.tls->resolve(directory_);
    if (Result<std::unique_ptr<net::TlsServer>> loaded = net::TlsServer::load(*endpoint.tls); !loaded) {
      problem(where, "endpoint '" + endpoint.text + "': " + loaded.error().message);
    }
  }

  void check_free(const toml::node& where, const std::string& service, net::Endpoint endpoint) {
    for (const Place& place : places_) {
      if (!net::conflict(place.endpoint, endpoint)) continue;
      problem(where, "service '" + place.service + "' already listens on " + place.endpoint.text);
      return;
    }
    places_.push_back({service, std::move(endpoint)});
  }

  void read_options(const toml::table& table, const services::Kind* kind, state::ServiceDefinition& service) {
    if (kind == nullptr) return;  // said already; nothing to hold the options against
    std::vector<std::string> known;
    for (const services::OptionSpec& spec : kind->options) known.push_back(spec.name);
    check_keys(table, known, "among the options of kind '" + kind->name + "'");
    for (const auto& [key, value] : table) {
      const services::OptionSpec* spec = kind->find_option(key.str());
      if (spec == nullptr) continue;
      const auto given = spec->type == services::OptionSpec::Type::list ? list_text(value) : scalar_text(value);
      const Result<std::string> canonical =
          given ? spec->canonical(*given) : Result<std::string>(Error{Fault::config, "it is " + type_of(value)});
      if (canonical) service.options[spec->name] = *canonical;
      else problem(value, "'" + spec->name + "': " + canonical.error().message);
    }
    need_options(table, &table, kind);
  }

  /// Those that have no default. `where`: what is pointed at when one is missing.
  void need_options(const toml::node& where, const toml::table* options, const services::Kind* kind) {
    if (kind == nullptr) return;
    for (const services::OptionSpec& spec : kind->options) {
      if (!spec.required || (options != nullptr && options->contains(spec.name))) continue;
      problem(where, "the kind '" + kind->name + "' needs the option '" + spec.name + "': " + spec.doc);
    }
  }

  void check_together(const toml::table& table, const services::Kind* kind, const state::ServiceDefinition& service) {
    if (kind == nullptr || !kind->check_together) return;
    const Result<services::Options> options = kind->check(service.options);
    if (!options) return;
    const auto wrong = kind->check_together(*options, service.listen);
    if (!wrong) return;
    const toml::node* at = table.at_path("options").node();
    if (at != nullptr && at->as_table() != nullptr && at->as_table()->contains(wrong->option)) {
      at = at->as_table()->get(wrong->option);
    }
    problem(at == nullptr ? table : *at, "'" + wrong->option + "': " + wrong->message);
  }

  /// By place: tables are walked by key, people read from top to bottom.
  void sort_problems() {
    std::stable_sort(reading_.problems.begin(), reading_.problems.end(),
                     [](const ConfigProblem& a, const ConfigProblem& b) {
                       return std::pair(a.line, a.column) < std::pair(b.line, b.column);
                     });
  }

  ConfigReading& reading_;
  std::string file_;
  const services::Registry& kinds_;
  const ConfigPlugins& plugins_;
  std::string directory_;
  std::set<std::string> names_;
  std::vector<Place> places_;
};

}  // namespace

std::string ConfigProblem::text() const {
  return file + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + message;
}

ConfigReading read_config(const std::string& text, const std::string& shown_as, const services::Registry& kinds,
                          const ConfigPlugins& plugins, const std::string& directory) {
  ConfigReading reading;
  if (const unsigned line = line_of_endless_key(text); line != 0) {
    reading.problems.push_back({shown_as, line, 1, "a key of more than " + std::to_string(kKeyPartsMax) + " parts"});
    return reading;
  }
  try {
    const toml::table root = toml::parse(text, shown_as);
    Reader(reading, shown_as, kinds, plugins, directory).read(root);
  } catch (const toml::parse_error& error) {
    const toml::source_position at = error.source().begin;
    reading.problems.push_back({shown_as, at.line, at.column, std::string(error.description())});
  }
  return reading;
}

Result<state::Definition> load_config(const std::string& path, const std::string& shown_as,
                                      const services::Registry& kinds, services::Plugins* plugins,
                                      const std::string& directory) {
  Result<Bytes> text = state::read_file(AT_FDCWD, path);
  if (!text) return std::move(text.error()).with("the config");
  const std::string beside = std::filesystem::path(path).parent_path().string();
  ConfigReading reading = read_config(*text, shown_as, kinds, {plugins, beside}, directory);
  if (reading.problems.empty()) return std::move(reading.definition);
  const std::size_t count = reading.problems.size();
  std::string message = shown_as + " has " + std::to_string(count) + (count == 1 ? " error:" : " errors:");
  for (const ConfigProblem& problem : reading.problems) message += "\n" + problem.text();
  return Error{Fault::config, std::move(message)};
}

}  // namespace tap::daemon
