// tap: works on archives and stores while nothing runs.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>

#include "services/command_line.hpp"
#include "services/standard_kinds.hpp"
#include "tools/tap/commands.hpp"

namespace {

using namespace tap;
using namespace tap::tools;

constexpr int kDiffSame = 0;
constexpr int kDiffDifferent = 1;
constexpr int kDiffTrouble = 2;

/// Whether the command is `tap diff`, which has exit codes of its own.
bool is_diff(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--plugin") ++i;
    else if (word.empty() || word[0] != '-') return word == "diff";
  }
  return false;
}

int exit_code(const Result<void>& result) {
  if (result) return 0;
  std::fprintf(stderr, "tap: %s\n", result.error().message.c_str());
  return result.error().exit_code();
}

int run_diff(const std::string& a, const std::string& b, const services::Registry& kinds) {
  const Result<bool> same = diff(a, b, kinds);
  if (same) return *same ? kDiffSame : kDiffDifferent;
  std::fprintf(stderr, "tap: %s\n", same.error().message.c_str());
  return kDiffTrouble;
}

int run(int argc, char** argv) {
  services::Registry kinds = services::standard_kinds();
  services::Plugins plugins(kinds);
  const Result<std::vector<std::string>> loaded =
      services::load_plugin_options({argv + 1, argv + argc}, services::service_option_shapes(kinds), plugins);
  if (!loaded) {
    const int code = exit_code(loaded.error());
    return is_diff(argc, argv) ? kDiffTrouble : code;
  }
  const std::vector<std::string>& words = *loaded;
  if (!words.empty() && words[0] == "make") return exit_code(make_archive({words.begin() + 1, words.end()}, kinds));

  CLI::App app{"tap works on archives while nothing runs.", "tap"};
  app.require_subcommand(1);
  app.set_version_flag("--version",
                       state::writer_name() + " (archive format " + std::to_string(state::kFormatVersion) + ")");
  app.add_option("--plugin", "the kinds of this shared object are known too; anywhere, repeatable")
      ->type_name("FILE.so");
  app.add_subcommand("make", "make an archive of one service: tap make KIND --listen tcp:8888 [-o FILE.tap]");
  std::string path;
  std::string second;
  ShowOptions show_options;
  CLI::App* show_command = app.add_subcommand("show", "what is in an archive, or in a store's newest one");
  show_command->add_option("PATH", path, "a .tap file or a store")->required();
  show_command->add_flag("--json", show_options.json, "as JSON, nothing shortened");
  show_command->add_flag("--full", show_options.full, "long values whole");
  CLI::App* list_command = app.add_subcommand("list", "the archives of a store");
  list_command->add_option("DIR", path, "a store")->required();
  CLI::App* verify_command = app.add_subcommand("verify", "check every checksum and decode every state");
  verify_command->add_option("PATH", path, "a .tap file or a store")->required();
  CLI::App* convert_command = app.add_subcommand("convert", "between .tap, .json and .xml, without loss");
  convert_command->add_option("IN", path)->required();
  convert_command->add_option("OUT", second)->required();
  std::uint32_t format_version = 0;
  convert_command->add_option("--format-version", format_version, "of the .tap, for an older tapd (the newest)");
  EditOptions edit_options;
  CLI::App* edit_command =
      app.add_subcommand("edit", "change states, as JSON in $EDITOR or by --set; a store gets a new generation");
  edit_command->add_option("PATH", path, "a store that nobody uses, or a .tap file")->required();
  edit_command->add_option("--set", edit_options.set, "SERVICE.path=value; repeatable")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  CLI::App* purge_command = app.add_subcommand("purge", "forget the state of a service that is not configured");
  purge_command->add_option("DIR", path, "a store that nobody uses")->required();
  purge_command->add_option("SERVICE", second)->required();
  RepairOptions repair_options;
  CLI::App* repair_command =
      app.add_subcommand("repair", "explain what recovery refuses, and make what can be had of it, in a copy");
  repair_command->add_option("DIR", path, "a store that nobody uses; it is not changed")->required();
  repair_command->add_option("--to", repair_options.to, "the new store to make")->type_name("NEWDIR");
  repair_command->add_option("--choice", repair_options.choice, "which of the choices that are shown")->type_name("N");
  CLI::App* diff_command = app.add_subcommand("diff", "compare definition and state: 0 same, 1 different, 2 trouble");
  diff_command->add_option("A", path)->required();
  diff_command->add_option("B", second)->required();
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "tap: %s (`tap --help` tells the commands)\n", error.what());
    return is_diff(argc, argv) ? kDiffTrouble : static_cast<int>(Fault::usage);
  }
  if (show_command->parsed()) return exit_code(show(path, show_options, kinds));
  if (list_command->parsed()) return exit_code(list(path));
  if (verify_command->parsed()) return exit_code(verify(path, kinds));
  if (convert_command->parsed()) return exit_code(convert(path, second, format_version, kinds));
  if (edit_command->parsed()) return exit_code(edit(path, edit_options, kinds));
  if (purge_command->parsed()) return exit_code(purge(path, second, kinds));
  if (repair_command->parsed()) return exit_code(repair(path, repair_options, kinds));
  return run_diff(path, second, kinds);
}

}  // namespace

int main(int argc, char** argv) {
  const bool about_diff = is_diff(argc, argv);
  try {
    const int code = run(argc, argv);
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
    std::fprintf(stderr, "tap: standard output cannot be written\n");
    return about_diff ? kDiffTrouble : static_cast<int>(Fault::internal);
  } catch (const std::exception& thrown) {
    std::fprintf(stderr, "tap: %s\n", thrown.what());
    return about_diff ? kDiffTrouble : static_cast<int>(Fault::internal);
  }
}
