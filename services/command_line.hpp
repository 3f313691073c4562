// Command line: the one-service form, shared by `tapd KIND ...` and `tap make KIND ...`.
//
// Every key of [[service]] and every option of the kind is a long option.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "services/kind.hpp"
#include "services/plugins.hpp"
#include "state/definition.hpp"

namespace CLI {
class App;
}

namespace tap::services {

/// The texts given for one service, not yet checked.
struct ServiceArguments {
  std::vector<std::string> listen;
  std::string durability;
  std::string connections_max;
  std::string idle_timeout;
  std::map<std::string, std::string> limits;  ///< by their names (services/limits.hpp)
  std::map<std::string, std::string> options;
};

/// Whether anything was given that belongs to a service.
[[nodiscard]] bool any_given(const ServiceArguments& arguments);

/// Adds the options to `app`; `kind` may be nullptr (only the keys every service has). `into` outlives the parsing.
void add_service_options(CLI::App& app, const Kind* kind, ServiceArguments& into);

/// An application of that one service, both named after the kind (the application's name is capitalised).
/// Errors: usage; config for a durability that there is not.
[[nodiscard]] Result<state::Definition> one_service_application(const Kind& kind, const ServiceArguments& arguments);

/// An option as far as splitting a command line needs to know it.
struct OptionShape {
  std::string long_name;  ///< with the two dashes
  char short_name = '\0';
  bool takes_value = true;  ///< false: a boolean, given bare or with true or false
};

/// The options every service and any kind has.
[[nodiscard]] std::vector<OptionShape> service_option_shapes(const Registry& kinds);

/// A command line made regular: "--x=" keeps its empty value, "-n true" becomes "--nodaemon=true". `first` is the first
/// word that is neither an option nor an option's value; it is taken out.
struct RegularArguments {
  std::vector<std::string> words;
  std::string first;
};
[[nodiscard]] RegularArguments regular_arguments(const std::vector<std::string>& words,
                                                 const std::vector<OptionShape>& shapes);

/// Loads the shared object of each `--plugin FILE` or `--plugin=FILE` and gives the other words. Relative paths begin
/// in the present directory. Errors: usage, without a file; config, for a plugin that is refused.
[[nodiscard]] Result<std::vector<std::string>> load_plugin_options(const std::vector<std::string>& words,
                                                                   const std::vector<OptionShape>& shapes,
                                                                   Plugins& plugins);

/// Whether there is such a durability; "" (none given) is fine. Errors: config.
[[nodiscard]] Result<void> check_durability(const std::string& durability);

}  // namespace tap::services
