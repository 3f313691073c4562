#include "daemon/options.hpp"

#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "daemon/log.hpp"
#include "state/archive.hpp"
#include "state/definition.hpp"

namespace tap::daemon {
namespace {

using services::OptionShape;

/// The shapes of the daemon's own options; the kinds' come on top.
const std::vector<OptionShape>& daemon_shapes() {
  static const std::vector<OptionShape> shapes{{"--nodaemon", 'n', false},
                                               {"--no-save", 'o', false},
                                               {"--syslog", '\0', false},
                                               {"--check", '\0', false},
                                               {"--rewind", '\0', false},
                                               {"--no-keeper", '\0', false},
                                               {"--list-services", '\0', false},
                                               {"--version", '\0', false},
                                               {"--help", 'h', false},
                                               {"--plugin", '\0', true},
                                               {"--config", 'c', true},
                                               {"--file", 'f', true},
                                               {"--name", '\0', true},
                                               {"--state-dir", '\0', true},
                                               {"--rundir", 'd', true},
                                               {"--pidfile", '\0', true},
                                               {"--logfile", 'l', true},
                                               {"--prefix", '\0', true},
                                               {"--log-level", '\0', true},
                                               {"--uid", 'u', true},
                                               {"--gid", 'g', true},
                                               {"--umask", '\0', true},
                                               {"--chroot", '\0', true},
                                               {"--notify-fd", '\0', true},
                                               {"--stop-timeout", '\0', true},
                                               {"--memory-budget", '\0', true},
                                               {"--memory_budget", '\0', true}};
  return shapes;
}

struct Raw {
  Options options;
  std::string umask;
  std::string notify_fd;
  bool list_services = false;
  bool version = false;
};

void add_daemon_options(CLI::App& app, Raw& raw) {
  Options& o = raw.options;
  app.add_flag("-n,--nodaemon", o.nodaemon, "stay in the foreground, log to standard error")->group("Process");
  app.add_flag("-o,--no-save", o.no_save, "write no state at all; what was there stays")->group("State");
  app.add_option("-c,--config", o.config, "the application from a config file")
      ->type_name("FILE")
      ->group("Application");
  app.add_option("-f,--file", o.file, "the application, or only its state, from an archive")
      ->type_name("FILE.tap")
      ->group("Application");
  app.add_option("--plugin", "more kinds of services, from a shared object; repeatable")
      ->type_name("FILE.so")
      ->group("Application");
  app.add_option("--name", o.name, "the application's name (the kind, capitalised)")
      ->type_name("NAME")
      ->group("Application");
  app.add_option("--state-dir", o.state_dir, "the store ($STATE_DIRECTORY, else NAME.state in the run directory)")
      ->type_name("DIR")
      ->group("State");
  app.add_flag("--rewind", o.rewind, "go back to the archive of -f; what the store has is moved aside")->group("State");
  app.add_option("-d,--rundir", o.rundir, "the run directory (the one tapd is started in)")
      ->type_name("DIR")
      ->group("Process");
  app.add_option("--pidfile", o.pidfile, "the pidfile (tapd.pid in the run directory; '' for none)")
      ->type_name("FILE")
      ->group("Process");
  app.add_option("-l,--logfile", o.logfile, "log to a file (tapd.log in the run directory; - for standard error)")
      ->type_name("FILE")
      ->group("Log");
  app.add_flag("--syslog", o.syslog, "log to syslog")->group("Log");
  app.add_option("--prefix", o.syslog_prefix, "the name to use in syslog (tapd)")->type_name("NAME")->group("Log");
  app.add_option("--log-level", o.log_level, "debug, info, warning or error (info)")->type_name("LEVEL")->group("Log");
  app.add_option("-u,--uid", o.uid, "run the services as this user")->type_name("USER")->group("Process");
  app.add_option("-g,--gid", o.gid, "and as this group (the user's)")->type_name("GROUP")->group("Process");
  app.add_option("--umask", raw.umask, "octal, for what tapd creates (0077)")->type_name("MASK")->group("Process");
  app.add_option("--chroot", o.chroot, "run the services inside this directory")->type_name("DIR")->group("Process");
  app.add_option("--notify-fd", raw.notify_fd, "write a newline to this descriptor when ready")
      ->type_name("N")
      ->group("Process");
  app.add_option("--stop-timeout", o.stop_timeout, "how long unsent answers may delay a stop (10s)")
      ->type_name("DURATION")
      ->group("Process");
  app.add_option("--memory-budget,--memory_budget", o.memory_budget,
                 "what all connections may hold in buffers, 1MiB or more (no limit)")
      ->type_name("SIZE")
      ->group("Process");
  app.add_flag("--no-keeper", o.no_keeper, "one process only, for a debugger or a benchmark")->group("Process");
  app.add_flag("--check", o.check, "check everything, say what is wrong and where, start nothing")
      ->group("Application");
  app.add_flag("--list-services", raw.list_services, "print the kinds of services there are")->group("Application");
  app.add_flag("--version", raw.version, "print the version")->group("Application");
}

std::string absolute(const std::string& path) {
  if (path.empty()) return path;
  std::filesystem::path whole = path[0] == '/' ? std::filesystem::path("/") : std::filesystem::current_path();
  // Only what means nothing is dropped: "link/.." is not always ".".
  for (const std::filesystem::path& part : std::filesystem::path(path).relative_path()) {
    if (!part.empty() && part != ".") whole /= part;
  }
  return whole.string();
}

/// Inside the run directory unless absolute; for defaults only, what was typed is relative to the starting directory.
std::string in_rundir(const Options& options, const std::string& name) {
  return (std::filesystem::path(options.rundir) / name).string();
}

Error usage(std::string message) { return Error{Fault::usage, std::move(message)}; }

/// Values CLI11 does not check, and paths made absolute before any chdir.
Result<Options> finish(Raw raw, bool pidfile_given) {
  Options& o = raw.options;
  if (!raw.umask.empty()) {
    std::size_t used = 0;
    try {
      o.umask = static_cast<unsigned>(std::stoul(raw.umask, &used, 8));
    } catch (const std::exception&) {
      used = 0;
    }
    if (used != raw.umask.size() || o.umask > 0777) {
      return usage("--umask: '" + raw.umask + "' is not an octal number from 0 to 0777");
    }
  }
  if (!raw.notify_fd.empty()) {
    std::size_t used = 0;
    try {
      o.notify_fd = std::stoi(raw.notify_fd, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used != raw.notify_fd.size() || o.notify_fd < 0) {
      return usage("--notify-fd: '" + raw.notify_fd + "' is not a descriptor's number");
    }
    // Now, before anything of ours can have got this number.
    if (::fcntl(o.notify_fd, F_SETFD, FD_CLOEXEC) != 0) {
      return usage("--notify-fd: descriptor " + raw.notify_fd + " is not open");
    }
  }
  if (!is_log_level(o.log_level)) {
    return usage("--log-level: '" + o.log_level + "' is not debug, info, warning or error");
  }
  if (!o.name.empty() && !state::is_name(o.name)) {
    return usage("--name: '" + o.name + "' is not a name (letters, digits, '.', '_', '-'; at most 64)");
  }
  if (o.logfile == "-" && !o.nodaemon)
    return usage("-l -: a daemon has no standard error to log to; give -n or a file");
  if (o.rewind && o.file.empty()) return usage("--rewind needs -f: say which archive to go back to");
  if (o.no_keeper && (!o.uid.empty() || !o.gid.empty() || !o.chroot.empty())) {
    return usage("--no-keeper with -u, -g or --chroot: one process could not give back what it took; leave one out");
  }
  if (o.rewind && o.no_save) return usage("--rewind writes to the store, --no-save forbids it; give one of them");
  o.file_given = o.file;
  o.config_given = o.config;
  o.start_dir = absolute(".");
  o.rundir = absolute(o.rundir.empty() ? "." : o.rundir);
  o.pidfile = pidfile_given ? absolute(o.pidfile) : in_rundir(o, o.pidfile);
  for (std::string* path : {&o.config, &o.file, &o.state_dir, &o.chroot}) *path = absolute(*path);
  if (o.logfile != "-") o.logfile = absolute(o.logfile);
  return std::move(o);
}

std::string kinds_text(const services::Registry& kinds) {
  std::size_t width = 0;
  for (const services::Kind& kind : kinds.all()) width = std::max(width, kind.name.size());
  std::string text;
  for (const services::Kind& kind : kinds.all()) {
    text += kind.name + std::string(width - kind.name.size() + 2, ' ') + kind.summary + "\n";
  }
  return text;
}

}  // namespace

Result<std::vector<std::string>> load_plugin_options(const std::vector<std::string>& words,
                                                     const services::Registry& kinds, services::Plugins& plugins) {
  std::vector<OptionShape> shapes = services::service_option_shapes(kinds);
  shapes.insert(shapes.end(), daemon_shapes().begin(), daemon_shapes().end());
  return services::load_plugin_options(words, shapes, plugins);
}

Result<ParsedCommandLine> parse_command_line(const std::vector<std::string>& words, const services::Registry& kinds) {
  std::vector<OptionShape> shapes = services::service_option_shapes(kinds);
  shapes.insert(shapes.end(), daemon_shapes().begin(), daemon_shapes().end());
  services::RegularArguments arguments = services::regular_arguments(words, shapes);
  const services::Kind* kind = nullptr;
  if (!arguments.first.empty()) {
    kind = kinds.find(arguments.first);
    if (kind == nullptr) return usage(kinds.unknown(arguments.first) + " (`tapd --list-services` names them)");
  }

  Raw raw;
  raw.options.kind = arguments.first;
  CLI::App app{kind == nullptr ? "tapd runs network services as one daemon whose state survives.\n\n"
                                 "  tapd [options] -c tapd.toml\n"
                                 "  tapd [options] -f Application.tap\n"
                                 "  tapd [options] KIND --listen tcp:8888     (`tapd KIND --help` tells its options)\n"
                               : "tapd " + kind->name + ": " + kind->summary + ".\n\n  tapd [options] " + kind->name +
                                     " --listen tcp:8888\n",
               "tapd"};
  app.set_help_flag("-h,--help", "print this help");
  add_daemon_options(app, raw);
  services::add_service_options(app, kind, raw.options.service);
  try {
    std::vector<std::string> reversed(arguments.words.rbegin(), arguments.words.rend());
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return ParsedCommandLine{std::nullopt, app.help()};
  } catch (const CLI::ParseError& error) {
    return usage(std::string(error.what()) + " (`tapd --help` tells the options)");
  }
  if (raw.version) {
    return ParsedCommandLine{
        std::nullopt, state::writer_name() + " (archive format " + std::to_string(state::kFormatVersion) + ")\n"};
  }
  if (raw.list_services) return ParsedCommandLine{std::nullopt, kinds_text(kinds)};
  if (raw.options.config.empty() && raw.options.file.empty() && kind == nullptr) {
    return usage("nothing to run: give a config (-c), an archive (-f) or a kind (`tapd --list-services` names them)");
  }
  const bool has_definition = !raw.options.config.empty() || !raw.options.file.empty();
  const services::ServiceArguments& given = raw.options.service;
  if (has_definition && kind != nullptr) {
    return usage("the services come from " + std::string(raw.options.config.empty() ? "-f" : "-c") + ", so the kind '" +
                 kind->name + "' has no place here");
  }
  if (kind == nullptr && services::any_given(given)) {
    return usage("--listen and the other options of a service belong to the one-service form, `tapd KIND ...`");
  }
  Result<Options> options = finish(std::move(raw), app.count("--pidfile") > 0);
  if (!options) return std::move(options).error();
  return ParsedCommandLine{std::move(options).value(), ""};
}

}  // namespace tap::daemon
