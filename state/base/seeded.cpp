#include "state/base/seeded.hpp"

#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace tap {

SeededBug seeded_bug() {
  static const SeededBug bug = [] {
    constexpr std::array<std::pair<std::string_view, SeededBug>, 6> kNames{{
        {"no_data_sync", SeededBug::no_data_sync},
        {"rename_before_sync", SeededBug::rename_before_sync},
        {"no_directory_sync", SeededBug::no_directory_sync},
        {"reply_before_durable", SeededBug::reply_before_durable},
        {"append_after_tear", SeededBug::append_after_tear},
        {"early_removal", SeededBug::early_removal},
    }};
    const char* given = std::getenv("TAPD_SEEDED_BUG");
    for (const auto& [name, named] : kNames) {
      if (given != nullptr && name == given) return named;
    }
    return SeededBug::none;
  }();
  return bug;
}

}  // namespace tap
