#include "tests/state/hooked_disk.hpp"

#include <fcntl.h>

namespace tap::tests {
namespace {

class HookedFile final : public state::DiskFile {
 public:
  HookedFile(const HookedDisk& disk, std::string name, std::unique_ptr<state::DiskFile> real)
      : disk_(disk), name_(std::move(name)), real_(std::move(real)) {}

  Result<void> write_at(std::uint64_t offset, ByteView bytes) override {
    return disk_.ask("write", name_, [&] { return real_->write_at(offset, bytes); });
  }
  Result<Bytes> read_at(std::uint64_t offset, std::size_t count) override { return real_->read_at(offset, count); }
  Result<std::uint64_t> size() override { return real_->size(); }
  Result<void> sync() override {
    return disk_.ask("sync", name_, [&] { return real_->sync(); });
  }

 private:
  const HookedDisk& disk_;
  std::string name_;
  std::unique_ptr<state::DiskFile> real_;
};

}  // namespace

HookedDisk::HookedDisk(const std::string& directory)
    : real_(state::open_disk(Fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)))) {}

Result<std::unique_ptr<state::DiskFile>> HookedDisk::create(const std::string& name) {
  if (Result<void> asked = ask("create", name, [] { return Result<void>(); }); !asked) return std::move(asked).error();
  Result<std::unique_ptr<state::DiskFile>> file = real_->create(name);
  if (!file) return file;
  return std::unique_ptr<state::DiskFile>(std::make_unique<HookedFile>(*this, name, std::move(file).value()));
}

Result<std::unique_ptr<state::DiskFile>> HookedDisk::open(const std::string& name) {
  Result<std::unique_ptr<state::DiskFile>> file = real_->open(name);
  if (!file) return file;
  return std::unique_ptr<state::DiskFile>(std::make_unique<HookedFile>(*this, name, std::move(file).value()));
}

Result<void> HookedDisk::rename(const std::string& from, const std::string& to) {
  return ask("rename", from, [&] { return real_->rename(from, to); });
}

Result<bool> HookedDisk::rename_to_free_name(const std::string& from, const std::string& to) {
  if (Result<void> asked = ask("rename", from, [] { return Result<void>(); }); !asked) return std::move(asked).error();
  return real_->rename_to_free_name(from, to);
}

Result<void> HookedDisk::remove(const std::string& name) {
  return ask("remove", name, [&] { return real_->remove(name); });
}

Result<void> HookedDisk::sync_directory(const std::string& name) {
  return ask("sync_directory", name, [&] { return real_->sync_directory(name); });
}

}  // namespace tap::tests
