// tapd: the straight line from a command to a running daemon.
//
// options -> sources checked -> (a daemon of its own) -> lock, pidfile, sockets -> keeper and worker, or one process.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "daemon/alone.hpp"
#include "daemon/compactor.hpp"
#include "daemon/instance.hpp"
#include "daemon/keeper.hpp"
#include "daemon/launch.hpp"
#include "daemon/options.hpp"
#include "daemon/privileges.hpp"
#include "daemon/signals.hpp"
#include "daemon/source.hpp"
#include "daemon/worker.hpp"
#include "services/durability.hpp"
#include "services/net/endpoint.hpp"
#include "services/plugins.hpp"
#include "services/standard_kinds.hpp"

namespace {

using namespace tap;
using namespace tap::daemon;

/// A standard descriptor that is closed would be the number of the next file we open.
void open_standard_descriptors() {
  for (int fd = ::open("/dev/null", O_RDWR); fd >= 0; fd = ::open("/dev/null", O_RDWR)) {
    if (fd <= STDERR_FILENO) continue;
    ::close(fd);
    return;
  }
}

int run(const Options& options, Source source, const services::Registry& kinds, services::Plugins& plugins,
        LaunchReport& report) {
  // Until somebody reads them: none of these may end a daemon that is starting.
  block_signals({SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT});
  if (::chdir(options.rundir.c_str()) != 0) {
    const Error error = errno_error(Fault::cannot_create, "entering the run directory " + options.rundir);
    report.failed(error);
    return error.exit_code();
  }
  Instance instance(options, std::move(source), kinds, plugins);
  if (Result<void> prepared = instance.prepare(); !prepared) {
    report.failed(prepared.error());
    return prepared.error().exit_code();
  }
  if (options.no_keeper) return run_alone(instance, report, kinds);
  return Keeper(instance, report).run();
}

int check(const Options& options, const Source& source, const services::Registry& kinds) {
  if (Result<std::optional<Identity>> identity = find_identity(options.uid, options.gid); !identity) {
    print_error(identity.error());
    return identity.error().exit_code();
  }
  std::string what = options.config_given.empty() ? options.file_given : options.config_given;
  if (what.empty()) what = "the command line";
  std::printf("%s is valid: application '%s', %zu service%s\n", what.c_str(), source.definition.name.c_str(),
              source.definition.services.size(), source.definition.services.size() == 1 ? "" : "s");
  for (const state::ServiceDefinition& service : source.definition.services) {
    const bool has_state = kinds.find(service.kind)->state != nullptr;
    const std::string loses = "durability " + services::durability_text(source.definition, service) + ": " +
                              services::durability_of(source.definition, service).loss();
    std::printf("  %s (%s), %s\n", service.name.c_str(), service.kind.c_str(),
                has_state ? loses.c_str() : "keeps no state");
  }
  return 0;
}

/// Descriptors that were meant for the daemon; all others that a daemon inherits are closed.
std::vector<int> meant_descriptors(const Options& options, const Source& source, const services::Plugins& plugins) {
  std::vector<int> meant;
  for (const int fd : options.inherited.descriptors()) meant.push_back(fd);
  for (const services::KeptPlugin& plugin : plugins.kept()) meant.push_back(plugin.fd);
  if (options.notify_fd >= 0) meant.push_back(options.notify_fd);
  for (const state::ServiceDefinition& service : source.definition.services) {
    for (const std::string& text : service.listen) {
      const Result<net::Endpoint> endpoint = net::parse_endpoint(text);
      if (endpoint && endpoint->type == net::Endpoint::Type::fd) meant.push_back(endpoint->fd);
    }
  }
  return meant;
}

int start(const std::vector<std::string>& given, services::Registry& kinds) {
  services::Plugins plugins(kinds);
  Result<std::vector<std::string>> words = load_plugin_options(given, kinds, plugins);
  if (!words) {
    print_error(words.error());
    return words.error().exit_code();
  }
  Result<ParsedCommandLine> parsed = parse_command_line(*words, kinds);
  if (!parsed) {
    print_error(parsed.error());
    return parsed.error().exit_code();
  }
  if (!parsed->options) {
    std::fputs(parsed->print.c_str(), stdout);
    return 0;
  }
  Options& options = *parsed->options;
  options.inherited = net::InheritedSockets::take_from_environment();
  Result<Source> source = load_source(options, kinds, &plugins);
  if (!source) {
    print_error(source.error());
    return source.error().exit_code();
  }
  if (options.check) return check(options, *source, kinds);
  ::umask(options.umask);
  if (options.nodaemon) {
    LaunchReport report;
    return run(options, std::move(source).value(), kinds, plugins, report);
  }
  return daemonize(meant_descriptors(options, *source, plugins), [&](LaunchReport& report) {
    return run(options, std::move(source).value(), kinds, plugins, report);
  });
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_descriptors();
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error to report, not an end
  ::signal(SIGCHLD, SIG_DFL);  // ignored by whoever started us, it would keep the keeper from its worker's end
  services::Registry kinds = services::standard_kinds();
  if (argc == 3 && std::strcmp(argv[1], "--worker") == 0) return worker_main(std::atoi(argv[2]), kinds);
  if (argc == 5 && std::strcmp(argv[1], "--compact") == 0) {
    return compactor_main(std::atoi(argv[2]), std::atoi(argv[3]), argv[4], kinds);
  }
  try {
    return start({argv + 1, argv + argc}, kinds);
  } catch (const std::exception& thrown) {
    print_error(Error{Fault::internal, thrown.what()});
    return static_cast<int>(Fault::internal);
  }
}
