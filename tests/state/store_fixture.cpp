#include "tests/state/store_fixture.hpp"

#include <fcntl.h>

#include <filesystem>

#include "tests/state/archive_samples.hpp"

namespace tap::tests {

Snapshot snapshot(const std::string& directory) {
  Snapshot files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    const std::string name = entry.path().lexically_relative(directory).string();
    if (entry.is_directory()) files[name + "/"];
    else files[name] = entry.is_regular_file() ? read_text(entry.path().string()) : "(special)";
  }
  return files;
}

std::vector<std::string> names(const Snapshot& files) {
  std::vector<std::string> list;
  for (const auto& [name, content] : files) list.push_back(name);
  return list;
}

state::Archive generation(std::uint64_t number) {
  state::Archive archive = sample_archive();
  archive.generation = number;
  archive.sections[0].payload = "state of generation " + std::to_string(number);
  return archive;
}

Bytes generation_bytes(std::uint64_t number) { return state::encode_archive(generation(number)); }

Bytes newer_format_bytes(std::uint64_t number) {
  Bytes bytes = generation_bytes(number);
  patch<std::uint32_t>(bytes, 8, 2);
  repair_checksums(bytes);
  return bytes;
}

Bytes damaged_bytes(std::uint64_t number) {
  Bytes bytes = generation_bytes(number);
  bytes[bytes.find("state of generation")] ^= 1;
  return bytes;
}

StoreDirectory::StoreDirectory() : store(Fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC))) {}

}  // namespace tap::tests
