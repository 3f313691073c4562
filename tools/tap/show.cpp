#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "services/limits.hpp"
#include "services/store_view.hpp"
#include "services/units.hpp"
#include "tools/tap/commands.hpp"

namespace tap::tools {
namespace {

using Json = nlohmann::ordered_json;

/// From this many characters on a value is shortened in the table.
constexpr std::size_t kShortenFrom = 80;
constexpr std::size_t kShownAtEachEnd = 30;

std::string shortened(const std::string& text, bool full) {
  if (full || text.size() < kShortenFrom) return text;
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return text.substr(0, kShownAtEachEnd) + "..." + text.substr(text.size() - kShownAtEachEnd) + " (" +
         std::to_string(text.size()) + (digits ? " digits" : " characters") + ", --full shows them)";
}

void print_field(int indent, const std::string& name, const std::string& value) {
  const int width = std::max(18 - indent, 1);
  std::printf("%*s%-*s  %s\n", indent, "", width, name.c_str(), value.c_str());
}

/// A state's values, one a line, nested names joined with dots.
void print_value(const std::string& name, const Json& value, bool full) {
  if (value.is_object()) {
    for (const auto& [key, item] : value.items()) {
      if (key != "cereal_class_version") print_value(name.empty() ? key : name + "." + key, item, full);
    }
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) print_value(name + "[" + std::to_string(i) + "]", value[i], full);
    if (value.empty()) print_field(4, name, "(empty)");
  } else {
    print_field(4, name, shortened(value.is_string() ? value.get<std::string>() : value.dump(), full));
  }
}

void print_limits(int indent, const std::vector<services::LimitSpec>& specs, const state::Limits& limits) {
  for (const auto& [name, value] : limits) {
    const services::LimitSpec* spec = services::find_limit(specs, name);
    print_field(indent, name,
                spec == nullptr ? std::to_string(value) + " (this program does not know it)" : spec->text(value));
  }
}

void print_service(const state::ServiceDefinition* definition, const Json* section, bool full) {
  const std::string name = definition != nullptr ? definition->name : section->value("service", "");
  const std::string kind = definition != nullptr ? definition->kind : section->value("kind", "");
  std::printf("\n  %s (%s)%s\n", name.c_str(), kind.c_str(), definition == nullptr ? ": kept, not configured" : "");
  if (definition != nullptr) {
    for (const std::string& endpoint : definition->listen) print_field(4, "listen", endpoint);
    if (!definition->durability.empty()) print_field(4, "durability", definition->durability);
    if (definition->connections_max != state::kDefaultConnectionsMax) {
      print_field(4, "max connections", std::to_string(definition->connections_max));
    }
    if (definition->idle_timeout_ms != 0) {
      print_field(4, "idle timeout", services::duration_text(definition->idle_timeout_ms));
    }
    print_limits(4, services::service_limits(), definition->limits);
    for (const auto& [option, value] : definition->options) print_field(4, option, value);
  }
  if (section == nullptr) return;
  const Json& value = section->at("state");
  if (section->value("encoding", "") == "base64") {
    print_field(4, "state",
                shortened(value.get<std::string>(), full) +
                    " (base64: this program has no such kind; a plugin that has it is named by --plugin)");
  } else {
    print_value("", value, full);
  }
}

void print_table(const state::StoredArchive& stored, const Json& document, const std::vector<std::string>& report,
                 bool full) {
  const state::Archive& archive = stored.archive;
  std::printf("%s: application '%s'\n\n", stored.file.c_str(), archive.definition.name.c_str());
  print_field(2, "generation", std::to_string(archive.generation));
  print_field(2, "lineage", archive.lineage.text());
  if (!archive.parent.none()) {
    print_field(2, "rewound from", archive.parent.text() + ", generation " + std::to_string(archive.parent_generation));
  }
  print_field(2, "saved", services::time_text(archive.created_ms) + " by " + archive.writer);
  print_field(2, "durability", archive.definition.durability);
  print_field(2, "stop timeout", services::duration_text(archive.definition.stop_timeout_ms));
  print_limits(2, services::application_limits(), archive.definition.limits);
  print_field(2, "sha256", stored.digest.text());
  for (std::size_t i = 0; i < report.size(); ++i) print_field(2, i == 0 ? "journal" : "", report[i]);

  const Json& sections = document.at("services");
  const auto find = [&sections](const std::string& name) -> const Json* {
    for (const Json& section : sections) {
      if (section.value("service", "") == name) return &section;
    }
    return nullptr;
  };
  for (const state::ServiceDefinition& service : archive.definition.services) {
    print_service(&service, find(service.name), full);
  }
  for (const Json& section : sections) {
    if (archive.definition.find(section.value("service", "")) == nullptr) print_service(nullptr, &section, full);
  }
}

/// The documents of to_text() as a value; cereal writes not-a-number in a way that JSON does not know.
Result<Json> parse(const std::string& text) {
  Json document = Json::parse(text, nullptr, false);
  if (document.is_discarded() || !document.contains("tapd")) {
    return Error{Fault::internal, "the state holds a number that JSON cannot carry; `tap convert` to XML shows it"};
  }
  return std::move(document.at("tapd"));
}

}  // namespace

namespace {

/// What is to be shown: an archive, or what a store would give to the next start.
struct Shown {
  state::StoredArchive stored;
  std::vector<std::string> report;  ///< of a store: what recovery finds
};

Result<Shown> find_shown(const std::string& path, const services::Registry& kinds) {
  if (!is_directory(path)) {
    Result<state::StoredArchive> stored = state::read_archive_file(path);
    if (!stored) return std::move(stored).error();
    return Shown{std::move(stored).value(), {}};
  }
  Result<state::Store> store = open_store(path);
  if (!store) return std::move(store).error();
  Result<services::StoreView> view = services::view_store(*store, kinds);
  if (!view) return std::move(view.error()).with(path);
  Shown shown{std::move(view->stored), view->report()};
  if (const std::optional<int> pid = running_pid(path)) {
    shown.report.push_back("tapd with pid " + std::to_string(*pid) +
                           " uses it: what is there changes while it is read");
  }
  shown.stored.archive = std::move(view->present);
  shown.stored.file.insert(0, path + "/");
  return shown;
}

}  // namespace

Result<void> show(const std::string& path, const ShowOptions& options, const services::Registry& kinds) {
  Result<Shown> found = find_shown(path, kinds);
  if (!found) return std::move(found).error();
  state::StoredArchive* stored = &found->stored;
  Result<std::string> text = state::to_text(stored->archive, state::TextFormat::json, state_types(kinds));
  if (!text) return std::move(text.error()).with(stored->file);
  Result<Json> document = parse(*text);
  if (!document) return std::move(document.error()).with(stored->file);
  if (options.json) {
    Json shown;
    shown["file"] = stored->file;
    shown["sha256"] = stored->digest.text();
    if (!found->report.empty()) shown["journal"] = found->report;
    shown.update(*document);
    std::printf("%s\n", shown.dump(2).c_str());
  } else {
    print_table(*stored, *document, found->report, options.full);
  }
  return {};
}

Result<void> list(const std::string& directory) {
  if (!is_directory(directory)) return Error{Fault::no_input, directory + " is not a directory"};
  Result<state::Store> store = open_store(directory);
  if (!store) return std::move(store).error();
  Result<std::vector<state::StoreEntry>> entries = store->list();
  if (!entries) return std::move(entries.error()).with(directory);
  std::printf("%-32s %10s  %-20s  %s\n", "ARCHIVE", "GENERATION", "SAVED", "SERVICES");
  for (const state::StoreEntry& entry : *entries) {
    if (!entry.content) {
      std::printf("%-32s %10llu  %s\n", entry.file.c_str(), static_cast<unsigned long long>(entry.generation),
                  entry.content.error().message.c_str());
      continue;
    }
    const state::Archive& archive = entry.content->archive;
    std::string services;
    for (const state::ServiceDefinition& service : archive.definition.services) {
      services += (services.empty() ? "" : ", ") + service.name;
    }
    for (const state::Section& section : archive.sections) {
      if (archive.definition.find(section.service) == nullptr) services += ", (" + section.service + ")";
    }
    for (const state::Section& section : archive.pending) services += ", (" + section.service + ": changes)";
    std::printf("%-32s %10llu  %-20s  %s\n", entry.file.c_str(), static_cast<unsigned long long>(entry.generation),
                services::time_text(archive.created_ms).c_str(), services.c_str());
  }
  Result<std::vector<state::SegmentFile>> segments = state::list_segments(store->disk());
  if (!segments) return std::move(segments.error()).with(directory);
  for (const state::SegmentFile& segment : *segments) {
    std::printf("%-32s from LSN %llu\n", segment.file.c_str(), static_cast<unsigned long long>(segment.first_lsn));
  }
  return {};
}

}  // namespace tap::tools
