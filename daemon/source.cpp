#include "daemon/source.hpp"

#include <fcntl.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <thread>

#include "daemon/config.hpp"
#include "services/definition_check.hpp"
#include "services/limits.hpp"
#include "services/net/endpoint.hpp"
#include "services/net/tls_context.hpp"
#include "services/units.hpp"
#include "state/files.hpp"
#include "state/lock.hpp"

namespace tap::daemon {
namespace {

constexpr std::string_view kShutdownEnd = "-shutdown.tap";
constexpr auto kPollEvery = std::chrono::milliseconds(5);

/// Waits while the store that would leave `file` behind is held by a tapd that stops. A signal to stop may still be on
/// its way: one that serves is looked at for a moment too.
void wait_for_shutdown_archive(const Options& options) {
  const std::string base = std::filesystem::path(options.file).filename().string();
  if (base.size() <= kShutdownEnd.size() ||
      base.compare(base.size() - kShutdownEnd.size(), kShutdownEnd.size(), kShutdownEnd) != 0) {
    return;
  }
  const std::string name = options.name.empty() ? base.substr(0, base.size() - kShutdownEnd.size()) : options.name;
  Result<Fd> store = state::open_directory(AT_FDCWD, store_path(options, name));
  if (!store) return;
  using Clock = std::chrono::steady_clock;
  const auto started = Clock::now();
  for (;;) {
    state::LockHolder holder;
    Result<bool> held = state::StoreLock::held(store->get(), holder);
    if (!held || !*held) return;
    const std::uint64_t patience =
        holder.stopping ? holder.stop_timeout_ms + state::StoreLock::kSavingGraceMs : state::StoreLock::kSecondLookMs;
    if (Clock::now() - started >= std::chrono::milliseconds(patience)) return;
    std::this_thread::sleep_for(kPollEvery);
  }
}

Result<void> load_archive(const Options& options, Source& source) {
  Result<Bytes> bytes = state::read_file(AT_FDCWD, options.file);
  if (!bytes && bytes.error().fault == Fault::no_input) {
    wait_for_shutdown_archive(options);
    bytes = state::read_file(AT_FDCWD, options.file);
  }
  if (!bytes) return std::move(bytes.error()).with("-f " + options.file_given);
  Result<state::Archive> archive = state::decode_archive(*bytes);
  if (!archive) return std::move(archive.error()).with("-f " + options.file_given);
  source.archive_bytes = std::move(bytes).value();
  source.archive =
      state::StoredArchive{std::move(archive).value(), state::archive_digest(source.archive_bytes), options.file_given};
  return {};
}

Result<state::Definition> choose_definition(const Options& options, const Source& source,
                                            const services::Registry& kinds, services::Plugins* plugins) {
  if (!options.config.empty())
    return load_config(options.config, options.config_given, kinds, plugins, options.start_dir);
  if (source.archive) return source.archive->archive.definition;
  const services::Kind* kind = kinds.find(options.kind);
  TAP_ASSERT(kind != nullptr);
  return services::one_service_application(*kind, options.service);
}

/// What the command line says of a definition from elsewhere.
Result<void> apply_overrides(const Options& options, state::Definition& definition) {
  if (!options.name.empty()) definition.name = options.name;
  if (!options.memory_budget.empty()) {
    const auto* spec = services::find_limit(services::application_limits(), "memory_budget");
    const Result<std::uint64_t> bytes = spec->parse(options.memory_budget);
    if (!bytes) return Error{Fault::usage, "--memory-budget: " + bytes.error().message};
    definition.limits.erase("memory_budget");
    if (*bytes != 0) definition.limits["memory_budget"] = *bytes;
  }
  if (options.stop_timeout.empty()) return {};
  const auto timeout = services::parse_duration_ms(options.stop_timeout);
  if (!timeout || *timeout > services::kStopTimeoutMsMax) {
    return Error{Fault::usage, "--stop-timeout: '" + options.stop_timeout + "' is not a duration of at most an hour"};
  }
  definition.stop_timeout_ms = *timeout;
  return {};
}

/// Everything that can be known to be wrong before anything is touched.
Result<void> check_source(const Options& options, const Source& source, const services::Registry& kinds) {
  const std::string where = !options.config_given.empty() ? options.config_given : "-f " + options.file_given;
  if (Result<void> checked = services::check_definition(source.definition, kinds); !checked) {
    return std::move(checked.error()).with(options.kind.empty() ? where : options.kind);
  }
  for (const state::ServiceDefinition& service : source.definition.services) {
    for (const std::string& text : service.listen) {
      Result<net::Endpoint> endpoint = net::parse_endpoint(text);
      if (endpoint && endpoint->type == net::Endpoint::Type::stdio && !options.nodaemon) {
        return Error{Fault::config, "service '" + service.name + "' uses stdio:, which a daemon has not; give -n"};
      }
      // A config's own were looked at when it was read, and told with their place.
      if (!endpoint || !endpoint->tls || !options.config.empty()) continue;
      endpoint->tls->resolve(options.start_dir);
      if (Result<std::unique_ptr<net::TlsServer>> keys = net::TlsServer::load(*endpoint->tls); !keys) {
        return std::move(keys.error()).with("service '" + service.name + "', endpoint '" + text + "'");
      }
    }
  }
  if (!source.archive) return {};
  if (source.archive->archive.generation == 0 ||
      source.archive->archive.generation == std::numeric_limits<std::uint64_t>::max()) {
    return Error{Fault::damaged, "-f " + options.file_given + ": its generation cannot be followed by another"};
  }
  // Before the store takes it in, or moves anything aside for it.
  if (Result<void> checked = services::check_states(source.archive->archive, kinds); !checked) {
    return std::move(checked.error()).with("-f " + options.file_given);
  }
  return {};
}

}  // namespace

Result<Source> load_source(const Options& options, const services::Registry& kinds, services::Plugins* plugins) {
  Source source;
  if (!options.file.empty()) {
    if (Result<void> loaded = load_archive(options, source); !loaded) return std::move(loaded).error();
  }
  Result<state::Definition> definition = choose_definition(options, source, kinds, plugins);
  if (!definition) return std::move(definition).error();
  source.definition = std::move(definition).value();
  if (Result<void> overridden = apply_overrides(options, source.definition); !overridden) {
    return std::move(overridden).error();
  }
  if (Result<void> checked = check_source(options, source, kinds); !checked) return std::move(checked).error();
  return source;
}

Result<state::Definition> reload_definition(const Options& options, const services::Registry& kinds,
                                            services::Plugins* plugins) {
  Result<state::Definition> definition =
      load_config(options.config, options.config_given, kinds, plugins, options.start_dir);
  if (!definition) return definition;
  if (Result<void> overridden = apply_overrides(options, *definition); !overridden)
    return std::move(overridden).error();
  return definition;
}

std::string store_path(const Options& options, const std::string& name) {
  if (!options.state_dir.empty()) return options.state_dir;
  if (const char* given = std::getenv("STATE_DIRECTORY"); given != nullptr && given[0] == '/') {
    const std::string all = given;
    return all.substr(0, all.find(':'));
  }
  return (std::filesystem::path(options.rundir) / (name + ".state")).string();
}

std::string shutdown_directory(const Options& options) {
  const char* given = std::getenv("STATE_DIRECTORY");
  if (given != nullptr && given[0] == '/') return store_path(options, "");
  return options.rundir;
}

std::vector<std::string> differences(const state::Definition& running, const state::Definition& wanted) {
  std::vector<std::string> sentences;
  if (running.name != wanted.name)
    sentences.push_back("the application's name '" + running.name + "' -> '" + wanted.name + "'");
  if (running.stop_timeout_ms != wanted.stop_timeout_ms) {
    sentences.push_back("stop_timeout " + services::duration_text(running.stop_timeout_ms) + " -> " +
                        services::duration_text(wanted.stop_timeout_ms));
  }
  if (running.durability != wanted.durability) {
    sentences.push_back("durability " + running.durability + " -> " + wanted.durability);
  }
  for (const services::LimitSpec& spec : services::application_limits()) {
    const std::uint64_t before = services::limit_of(running.limits, spec.name);
    const std::uint64_t after = services::limit_of(wanted.limits, spec.name);
    if (before != after)
      sentences.push_back(std::string(spec.name) + " " + spec.text(before) + " -> " + spec.text(after));
  }
  for (const state::ServiceDefinition& service : running.services) {
    const state::ServiceDefinition* other = wanted.find(service.name);
    if (other == nullptr) sentences.push_back("service '" + service.name + "' would end (its state stays)");
    else if (!(*other == service)) sentences.push_back("service '" + service.name + "' would change");
  }
  for (const state::ServiceDefinition& service : wanted.services) {
    if (running.find(service.name) == nullptr) sentences.push_back("service '" + service.name + "' would start");
  }
  return sentences;
}

}  // namespace tap::daemon
