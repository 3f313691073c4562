// Options: the command line of tapd, checked and made absolute.
//
// Words and letters: DESIGN, "Command line"; `tapd --help` is made from the same table.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "services/command_line.hpp"
#include "services/kind.hpp"
#include "services/net/inherited_sockets.hpp"
#include "services/plugins.hpp"
#include "state/base/result.hpp"

namespace tap::daemon {

struct Options {
  bool nodaemon = false;
  bool no_save = false;
  bool syslog = false;
  bool check = false;
  bool rewind = false;
  bool no_keeper = false;
  std::string config;  ///< absolute, or empty
  std::string file;    ///< absolute, or empty; file_given as typed
  std::string file_given;
  std::string config_given;
  std::string name;
  std::string state_dir;             ///< absolute, or empty: by default
  std::string start_dir;             ///< where tapd was started: relative paths of endpoints are taken from here
  std::string rundir;                ///< absolute
  std::string pidfile = "tapd.pid";  ///< absolute after parsing; empty: none
  std::string logfile;               ///< absolute; empty: by default; "-": standard error
  std::string syslog_prefix = "tapd";
  std::string log_level = "info";
  std::string uid;
  std::string gid;
  std::string chroot;  ///< absolute
  std::string stop_timeout;
  std::string memory_budget;
  unsigned umask = 0077;
  int notify_fd = -1;
  net::InheritedSockets inherited;  ///< of systemd; not of the command line

  std::string kind;  ///< of the one-service form, or empty
  services::ServiceArguments service;
};

/// Either options to run with, or a text to print (help, version, the list of kinds) with exit code 0.
struct ParsedCommandLine {
  std::optional<Options> options;
  std::string print;
};

/// Loads what --plugin names, wherever it stands, and gives the other words: how they are to be read may depend on the
/// kinds that were loaded. `plugins` belongs to `kinds`. Errors: usage; config (78) for a plugin that is refused.
[[nodiscard]] Result<std::vector<std::string>> load_plugin_options(const std::vector<std::string>& words,
                                                                   const services::Registry& kinds,
                                                                   services::Plugins& plugins);

/// Errors: usage (64), the message as it is to be printed.
[[nodiscard]] Result<ParsedCommandLine> parse_command_line(const std::vector<std::string>& words,
                                                           const services::Registry& kinds);

}  // namespace tap::daemon
