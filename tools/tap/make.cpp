#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "services/application.hpp"
#include "services/command_line.hpp"
#include "state/files.hpp"
#include "tools/tap/commands.hpp"

namespace tap::tools {
namespace {

Error usage(std::string message) { return Error{Fault::usage, std::move(message)}; }

}  // namespace

Result<void> make_archive(const std::vector<std::string>& words, const services::Registry& kinds) {
  std::vector<services::OptionShape> shapes = services::service_option_shapes(kinds);
  shapes.insert(shapes.end(), {{"--name"}, {"--output", 'o'}, {"--force", '\0', false}, {"--help", 'h', false}});
  services::RegularArguments arguments = services::regular_arguments(words, shapes);
  const services::Kind* kind = kinds.find(arguments.first);
  if (!arguments.first.empty() && kind == nullptr) return usage(kinds.unknown(arguments.first));

  services::ServiceArguments service;
  std::string name;
  std::string output;
  bool force = false;
  CLI::App app{"tap make KIND --listen ENDPOINT ... makes an archive that `tapd -f` runs.", "tap make"};
  app.add_option("--name", name, "the application's name (the kind, capitalised)")->type_name("NAME");
  app.add_option("-o,--output", output, "the archive (NAME.tap)")->type_name("FILE.tap");
  app.add_flag("--force", force, "replace a file that is there");
  services::add_service_options(app, kind, service);
  try {
    app.parse(std::vector<std::string>(arguments.words.rbegin(), arguments.words.rend()));
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return {};
  } catch (const CLI::ParseError& error) {
    return usage(error.what());
  }
  if (kind == nullptr) return usage("which kind? `tapd --list-services` names them");
  if (!name.empty() && !state::is_name(name)) return usage("--name: '" + name + "' is not a name");

  Result<state::Definition> definition = services::one_service_application(*kind, service);
  if (!definition) return std::move(definition).error();
  if (!name.empty()) definition->name = name;
  if (output.empty()) output = definition->name + ".tap";
  Result<state::Archive> archive = services::initial_archive(*definition, kinds);
  if (!archive) return std::move(archive).error();
  if (!force && ::access(output.c_str(), F_OK) == 0) {
    return Error{Fault::cannot_create, output + " is there already and may hold state; --force replaces it"};
  }
  if (Result<void> written = state::replace_path(output, state::encode_archive(*archive)); !written) return written;
  std::printf("%s: application '%s', lineage %s\n", output.c_str(), definition->name.c_str(),
              archive->lineage.text().c_str());
  return {};
}

}  // namespace tap::tools
