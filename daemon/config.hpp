// Config: an application described in TOML. Every mistake is found in one go, each with its place.
#pragma once

#include <string>
#include <vector>

#include "services/kind.hpp"
#include "services/plugins.hpp"
#include "state/base/result.hpp"
#include "state/definition.hpp"

namespace tap::daemon {

/// "tapd.toml:12:3: there is no key 'lisen' in [[service]]; did you mean 'listen'?"
struct ConfigProblem {
  std::string file;
  unsigned line = 0;
  unsigned column = 0;
  std::string message;

  [[nodiscard]] std::string text() const;
};

/// What was read, and what is wrong with it; the definition is whole only when nothing is.
struct ConfigReading {
  state::Definition definition;
  std::vector<ConfigProblem> problems;
};

/// Where a config's plugins go; without `plugins` a config that names one is refused.
struct ConfigPlugins {
  services::Plugins* plugins = nullptr;  ///< of the same registry that the config is held against
  std::string directory;                 ///< the config's: relative paths of plugins begin there
};

/// Keys and certificates of tls: endpoints are read too, as a part of the check; relative paths of theirs are taken
/// from `directory`. `shown_as` is the file's name in the messages; its stem names an application that
/// does not name itself.
[[nodiscard]] ConfigReading read_config(const std::string& text, const std::string& shown_as,
                                        const services::Registry& kinds, const ConfigPlugins& plugins = {},
                                        const std::string& directory = ".");

/// The definition, or one Error (config, 78) whose message has a line for every problem; no_input without the file.
[[nodiscard]] Result<state::Definition> load_config(const std::string& path, const std::string& shown_as,
                                                    const services::Registry& kinds,
                                                    services::Plugins* plugins = nullptr,
                                                    const std::string& directory = ".");

}  // namespace tap::daemon
