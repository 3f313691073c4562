#include "services/command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <filesystem>

#include "services/durability.hpp"
#include "services/limits.hpp"
#include "services/net/endpoint.hpp"
#include "services/units.hpp"

namespace tap::services {
namespace {

std::string with_dashes(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

/// "--push-every,--push_every" so that the config's spelling works too.
std::string option_names(const std::string& name) {
  const std::string dashed = with_dashes(name);
  return dashed == name ? "--" + name : "--" + dashed + ",--" + name;
}

const OptionShape* find_shape(const std::vector<OptionShape>& shapes, const std::string& word) {
  const auto found = std::find_if(shapes.begin(), shapes.end(), [&](const OptionShape& shape) {
    if (word.size() == 2 && word[0] == '-' && word[1] != '-') return shape.short_name == word[1];
    return shape.long_name == word;
  });
  return found == shapes.end() ? nullptr : &*found;
}

Result<state::ServiceDefinition> make_service(const Kind& kind, const ServiceArguments& arguments) {
  const auto usage = [](std::string message) { return Error{Fault::usage, std::move(message)}; };
  state::ServiceDefinition service;
  service.name = kind.name;
  service.kind = kind.name;
  service.durability = arguments.durability;
  service.options = arguments.options;
  if (arguments.listen.empty()) return usage("--listen is missing: say where, for example --listen tcp:8888");
  std::vector<net::Endpoint> endpoints;
  for (const std::string& text : arguments.listen) {
    Result<net::Endpoint> endpoint = net::parse_endpoint(text);
    if (!endpoint) return usage("--listen: " + endpoint.error().message);
    for (const net::Endpoint& other : endpoints) {
      if (net::conflict(other, *endpoint)) return usage("--listen: " + text + " and " + other.text + " are one place");
    }
    endpoints.push_back(std::move(endpoint).value());
    service.listen.push_back(text);
  }
  if (!arguments.connections_max.empty()) {
    const auto count = parse_count(arguments.connections_max);
    if (!count || *count == 0) {
      return usage("--max-connections: '" + arguments.connections_max + "' is not a number above 0");
    }
    service.connections_max = *count;
  }
  if (!arguments.idle_timeout.empty()) {
    const auto timeout = parse_duration_ms(arguments.idle_timeout);
    if (!timeout) {
      return usage("--idle-timeout: '" + arguments.idle_timeout +
                   "' is not a duration such as 300ms, 5s, 5min or a number of seconds");
    }
    service.idle_timeout_ms = *timeout;
  }
  for (const auto& [name, text] : arguments.limits) {
    const Result<std::uint64_t> value = find_limit(service_limits(), name)->parse(text);
    if (!value) return usage("--" + with_dashes(name) + ": " + value.error().message);
    if (*value != 0) service.limits[name] = *value;
  }
  if (Result<void> together = check_limits_together(service.limits); !together) return usage(together.error().message);
  if (Result<Options> options = kind.check(arguments.options, service.listen); !options) {
    return usage("--" + options.error().message);
  }
  if (Result<void> durability = check_durability(arguments.durability); !durability) {
    return std::move(durability.error()).with("--durability");
  }
  return service;
}

}  // namespace

void add_service_options(CLI::App& app, const Kind* kind, ServiceArguments& into) {
  // One value at a time: CLI11 would take "[a,b]" for a list and the next word for another value.
  app.add_option_function<std::string>(
         "--listen", [&into](const std::string& text) { into.listen.push_back(text); },
         "an endpoint such as tcp:8888 or unix:/run/x.sock; repeatable")
      ->trigger_on_parse()
      ->type_name("ENDPOINT")
      ->group("Service");
  app.add_option(
         "--durability", into.durability,
         "when state is made durable: strict (before a reply leaves), interval:1s, shutdown (at a clean stop only), "
         "or reserve (for counters; may skip)")
      ->type_name("MODE")
      ->group("Service");
  app.add_option("--max-connections,--max_connections", into.connections_max,
                 "connections at once per endpoint (" + std::to_string(state::kDefaultConnectionsMax) + ")")
      ->type_name("N")
      ->group("Service");
  app.add_option("--idle-timeout,--idle_timeout", into.idle_timeout,
                 "end a connection on which nothing moves for so long (0: never)")
      ->type_name("DURATION")
      ->group("Service");
  for (const LimitSpec& spec : service_limits()) {
    app.add_option_function<std::string>(
           option_names(std::string(spec.name)),
           [&into, name = std::string(spec.name)](const std::string& text) { into.limits[name] = text; },
           std::string(spec.doc))
        ->type_name(spec.unit == LimitSpec::Unit::count      ? "N"
                    : spec.unit == LimitSpec::Unit::duration ? "DURATION"
                                                             : "SIZE")
        ->group("Limits");
  }
  if (kind == nullptr) return;
  for (const OptionSpec& spec : kind->options) {
    if (spec.type == OptionSpec::Type::boolean) {
      app.add_flag_function(
             option_names(spec.name),
             [&into, name = spec.name](std::int64_t count) { into.options[name] = count > 0 ? "true" : "false"; },
             spec.doc + " (" + spec.default_value + ")")
          ->group("Options of " + kind->name);
      continue;
    }
    const std::string by_default =
        spec.required ? " (required; such as " + spec.default_value + ")" : " (" + spec.default_value + ")";
    CLI::Option* option = app.add_option_function<std::string>(
        option_names(spec.name),
        [&into, name = spec.name, list = spec.type == OptionSpec::Type::list](const std::string& text) {
          std::string& value = into.options[name];
          value = list && !value.empty() ? value + "\n" + text : text;
        },
        spec.doc + (spec.type == OptionSpec::Type::list ? "" : by_default));
    option->type_name(spec.value_hint())->group("Options of " + kind->name);
    if (spec.type == OptionSpec::Type::list) option->trigger_on_parse();
  }
}

bool any_given(const ServiceArguments& arguments) {
  return !arguments.listen.empty() || !arguments.durability.empty() || !arguments.connections_max.empty() ||
         !arguments.idle_timeout.empty() || !arguments.limits.empty();
}

Result<state::Definition> one_service_application(const Kind& kind, const ServiceArguments& arguments) {
  Result<state::ServiceDefinition> service = make_service(kind, arguments);
  if (!service) return std::move(service).error();
  state::Definition definition;
  definition.name = kind.name;
  definition.name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(definition.name[0])));
  definition.services.push_back(std::move(service).value());
  return definition;
}

std::vector<OptionShape> service_option_shapes(const Registry& kinds) {
  std::vector<OptionShape> shapes{{"--listen"},          {"--durability"},   {"--max-connections"},
                                  {"--max_connections"}, {"--idle-timeout"}, {"--idle_timeout"}};
  for (const LimitSpec& spec : service_limits()) {
    shapes.push_back({"--" + std::string(spec.name)});
    if (with_dashes(std::string(spec.name)) != spec.name)
      shapes.push_back({"--" + with_dashes(std::string(spec.name))});
  }
  for (const Kind& kind : kinds.all()) {
    for (const OptionSpec& spec : kind.options) {
      const bool takes_value = spec.type != OptionSpec::Type::boolean;
      shapes.push_back({"--" + spec.name, '\0', takes_value});
      shapes.push_back({"--" + with_dashes(spec.name), '\0', takes_value});
    }
  }
  return shapes;
}

namespace {

/// "-nof x" becomes "-n -o -f x", "-nffile" becomes "-n -f file". What is no such bundle stays as it is.
std::vector<std::string> unbundled(const std::string& word, const std::vector<OptionShape>& shapes) {
  std::vector<std::string> words;
  for (std::size_t i = 1; i < word.size(); ++i) {
    const std::string option{'-', word[i]};
    const OptionShape* shape = find_shape(shapes, option);
    if (shape == nullptr) return {word};
    words.push_back(option);
    if (!shape->takes_value) continue;
    if (i + 1 < word.size()) words.push_back(word.substr(i + 1));
    break;
  }
  return words;
}

}  // namespace

RegularArguments regular_arguments(const std::vector<std::string>& given, const std::vector<OptionShape>& shapes) {
  RegularArguments regular;
  std::vector<std::string> words;
  bool value = false;  // the next word belongs to the one before it
  for (const std::string& word : given) {
    const bool bundle = !value && word.size() > 2 && word[0] == '-' && word[1] != '-' && word[2] != '=';
    const std::vector<std::string> pieces = bundle ? unbundled(word, shapes) : std::vector<std::string>{word};
    const OptionShape* last = find_shape(shapes, pieces.back());
    value = !value && last != nullptr && last->takes_value;
    words.insert(words.end(), pieces.begin(), pieces.end());
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool option = word.size() > 1 && word[0] == '-';
    if (!option) {
      if (regular.first.empty()) regular.first = word;
      else regular.words.push_back(word);
      continue;
    }
    const std::size_t equals = word.find('=');
    const OptionShape* shape = find_shape(shapes, word.substr(0, equals));
    const std::string* next = i + 1 < words.size() ? &words[i + 1] : nullptr;
    if (shape == nullptr) {
      regular.words.push_back(word);
    } else if (shape->takes_value && equals != std::string::npos) {
      regular.words.push_back(shape->long_name);
      regular.words.push_back(word.substr(equals + 1));
    } else if (shape->takes_value) {
      regular.words.push_back(word);
      if (next != nullptr) regular.words.push_back(words[++i]);
    } else if (equals == std::string::npos && next != nullptr && parse_boolean(*next)) {
      regular.words.push_back(shape->long_name + "=" + words[++i]);
    } else if (equals != std::string::npos) {
      regular.words.push_back(shape->long_name + word.substr(equals));
    } else {
      regular.words.push_back(word);
    }
  }
  return regular;
}

Result<std::vector<std::string>> load_plugin_options(const std::vector<std::string>& words,
                                                     const std::vector<OptionShape>& shapes, Plugins& plugins) {
  constexpr std::string_view kOption = "--plugin";
  std::vector<std::string> others;
  bool value = false;  // the next word belongs to the option before it
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool bare = word == kOption;
    if (value || !(bare || word.compare(0, kOption.size() + 1, "--plugin=") == 0)) {
      const bool bundle = word.size() > 2 && word[0] == '-' && word[1] != '-';
      const OptionShape* last = find_shape(shapes, bundle ? unbundled(word, shapes).back() : word);
      value = !value && last != nullptr && last->takes_value;
      others.push_back(word);
      continue;
    }
    if (bare && i + 1 == words.size()) return Error{Fault::usage, "--plugin: a file is missing"};
    const std::string path = bare ? words[++i] : word.substr(kOption.size() + 1);
    if (path.empty()) return Error{Fault::usage, "--plugin: a file is missing"};
    Result<void> loaded = plugins.load((std::filesystem::current_path() / path).string());
    if (!loaded) return std::move(loaded.error()).with("--plugin");
  }
  return others;
}

Result<void> check_durability(const std::string& durability) {
  if (durability.empty()) return {};
  Result<Durability> parsed = parse_durability(durability);
  if (!parsed) return std::move(parsed).error();
  return {};
}

}  // namespace tap::services
