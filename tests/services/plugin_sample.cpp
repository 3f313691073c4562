// A plugin that is wrong in the way that $TAP_SAMPLE names; by default it is right.
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "services/plugin.hpp"
#include "services/units.hpp"

using namespace tap;
using namespace tap::services;

namespace {

bool wrong(const char* how) {
  const char* wanted = std::getenv("TAP_SAMPLE");
  return wanted != nullptr && std::strcmp(wanted, how) == 0;
}

class Silent final : public net::Protocol {
 public:
  void data_received(std::string_view /*data*/) override {}
};

class SampleService final : public Service {
 public:
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return std::make_unique<Silent>(); }
};

Kind kind(const std::string& name) {
  Kind kind;
  kind.name = name;
  // Where this plugin finds a function of the program: a test compares it with where the program finds it.
  kind.summary = std::to_string(reinterpret_cast<std::uintptr_t>(&parse_duration_ms));
  kind.options = {{"times", OptionSpec::Type::count, {}, wrong("default") ? "many" : "1", "how often"}};
  if (!wrong("create")) kind.create = [](const Options&) { return std::make_unique<SampleService>(); };
  return kind;
}

std::vector<Kind> kinds() {
  if (wrong("throw")) throw std::runtime_error("there is no kind today");
  if (wrong("throw a number")) throw 1;
  if (wrong("taken")) return {kind("sample"), kind("echo")};
  if (wrong("twice")) return {kind("sample"), kind("sample")};
  if (wrong("name")) return {kind("sample"), kind("no name")};
  if (wrong("fewer")) return {kind("sample")};
  return {kind("sample"), kind("sample-2")};
}

}  // namespace

extern "C" const PluginDescription* tap_plugin() {
  static PluginDescription description;
  description = {kPluginMagic, kPluginAbiVersion, 2, "0.0.1", plugin_stamp(), kPluginLayout, kinds};
  if (wrong("magic")) description.magic ^= 1U;
  if (wrong("abi")) ++description.abi_version;
  if (wrong("stamp")) description.stamp = "tcc 1, libtiny 1";
  if (wrong("no stamp")) description.stamp = nullptr;
  if (wrong("layout")) ++description.layout;
  if (wrong("no kinds")) description.kinds = nullptr;
  if (wrong("count")) description.count = 0;
  return wrong("nothing") ? nullptr : &description;
}
