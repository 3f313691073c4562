#include <cstdio>
#include "services/testing/crash_runner.hpp"
namespace tally {
tap::services::Kind kind();
}

int main() {  // crashes at every write; nothing that a client saw may be lost or repeated
  const auto report = tap::testing::crash_at_every_write(tally::kind(), {{"ann\n", "bob\n", "ann\n"}});
  std::puts(report.text().c_str());
  return report.ok() ? 0 : 1;
}
