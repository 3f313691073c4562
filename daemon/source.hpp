// Source: where an application comes from: a config (-c), an archive (-f), or the one-service form.
#pragma once

#include <optional>
#include <string>

#include "daemon/options.hpp"
#include "services/kind.hpp"
#include "services/plugins.hpp"
#include "state/store.hpp"

namespace tap::daemon {

struct Source {
  state::Definition definition;
  std::optional<state::StoredArchive> archive;  ///< what -f names
  Bytes archive_bytes;
};

/// Reads and checks everything, starts nothing. Services come from -c, else -f, else the command line; --name wins.
///
/// An archive NAME-shutdown.tap that is not there yet is waited for while the tapd that will write it is stopping, so
/// that `kill $(cat tapd.pid); tapd -f NAME-shutdown.tap` works on one line.
/// A config's plugins are loaded into `plugins`, which belongs to `kinds`.
/// Errors: whatever is wrong with what was named: 64, 65, 66, 77, 78.
[[nodiscard]] Result<Source> load_source(const Options& options, const services::Registry& kinds,
                                         services::Plugins* plugins = nullptr);

/// The config alone, read again, with what the command line says on top. REQUIRES: options.config.
[[nodiscard]] Result<state::Definition> reload_definition(const Options& options, const services::Registry& kinds,
                                                          services::Plugins* plugins = nullptr);

/// --state-dir, else $STATE_DIRECTORY, else NAME.state in the run directory.
[[nodiscard]] std::string store_path(const Options& options, const std::string& name);

/// Where NAME-shutdown.tap goes: the run directory, under systemd the state directory.
[[nodiscard]] std::string shutdown_directory(const Options& options);

/// What would change if the sources were read anew, a sentence each; for SIGHUP.
[[nodiscard]] std::vector<std::string> differences(const state::Definition& running, const state::Definition& wanted);

}  // namespace tap::daemon
