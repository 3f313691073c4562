// tapd: the straight line from a command to a running daemon.
//
// options -> sources checked -> (a daemon of its own) -> lock, pidfile, sockets -> keeper and worker, or one process.

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "daemon/alone.hpp"
#include "daemon/instance.hpp"
#include "daemon/keeper.hpp"
#include "daemon/launch.hpp"
#include "daemon/options.hpp"
#include "daemon/source.hpp"
#include "daemon/worker.hpp"
#include "services/standard_kinds.hpp"

namespace {

using namespace tap;
using namespace tap::daemon;

int run(const Options& options, Source source, const services::Registry& kinds, LaunchReport& report) {
  if (::chdir(options.rundir.c_str()) != 0) {
    const Error error = errno_error(Fault::cannot_create, "entering the run directory " + options.rundir);
    report.failed(error);
    return error.exit_code();
  }
  Instance instance(options, std::move(source), kinds);
  if (Result<void> prepared = instance.prepare(); !prepared) {
    report.failed(prepared.error());
    return prepared.error().exit_code();
  }
  if (options.no_keeper) return run_alone(instance, report, kinds);
  return Keeper(instance, report).run();
}

int check(const Options& options, const Source& source) {
  std::string what = options.config_given.empty() ? options.file_given : options.config_given;
  if (what.empty()) what = "the command line";
  std::printf("%s is valid: application '%s', %zu service%s\n", what.c_str(), source.definition.name.c_str(),
              source.definition.services.size(), source.definition.services.size() == 1 ? "" : "s");
  for (const state::ServiceDefinition& service : source.definition.services) {
    const std::string& durability = service.durability.empty() ? source.definition.durability : service.durability;
    std::printf("  %s (%s), durability %s: a crash or power cut loses what changed since the last clean stop\n",
                service.name.c_str(), service.kind.c_str(), durability.c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error to report, not an end
  const services::Registry kinds = services::standard_kinds();
  if (argc == 3 && std::strcmp(argv[1], "--worker") == 0) return worker_main(std::atoi(argv[2]), kinds);

  Result<ParsedCommandLine> parsed = parse_command_line({argv + 1, argv + argc}, kinds);
  if (!parsed) {
    print_error(parsed.error());
    return parsed.error().exit_code();
  }
  if (!parsed->options) {
    std::fputs(parsed->print.c_str(), stdout);
    return 0;
  }
  const Options& options = *parsed->options;
  Result<Source> source = load_source(options, kinds);
  if (!source) {
    print_error(source.error());
    return source.error().exit_code();
  }
  if (options.check) return check(options, *source);
  ::umask(options.umask);
  if (options.nodaemon) {
    LaunchReport report;
    return run(options, std::move(source).value(), kinds, report);
  }
  return daemonize([&](LaunchReport& report) { return run(options, std::move(source).value(), kinds, report); });
}
