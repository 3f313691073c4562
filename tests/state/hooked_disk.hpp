// HookedDisk: a real directory whose calls a test can count, hold up and fail.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "state/disk.hpp"

namespace tap::tests {

/// What a hook is asked before each call: the operation ("write", "sync", "create", "rename", "remove",
/// "sync_directory") and the file. It answers 0, or the errno that the call fails with, or kPretend.
using DiskHook = std::function<int(const std::string& operation, const std::string& name)>;

/// The call is not made, and succeeds.
inline constexpr int kPretend = -1;

/// A value that one thread sets while others look.
template <class T>
class Shared {
 public:
  Shared& operator=(T value) {
    const std::lock_guard<std::mutex> hold(lock_);
    value_ = std::move(value);
    return *this;
  }
  [[nodiscard]] T now() const {
    const std::lock_guard<std::mutex> hold(lock_);
    return value_;
  }

 private:
  mutable std::mutex lock_;
  T value_{};
};

/// Thread: the hook is called on the caller's, of which there may be several at once; it may be exchanged meanwhile.
class HookedDisk final : public state::Disk {
 public:
  explicit HookedDisk(const std::string& directory);

  Shared<DiskHook> hook;
  Shared<std::optional<std::uint64_t>> free_told;  ///< what free_bytes() says, instead of the truth

  Result<std::vector<std::string>> list() override { return real_->list(); }
  Result<bool> exists(const std::string& name) override { return real_->exists(name); }
  Result<Bytes> read(const std::string& name, bool from_disk) override { return real_->read(name, from_disk); }
  Result<std::unique_ptr<state::DiskFile>> create(const std::string& name) override;
  Result<std::unique_ptr<state::DiskFile>> open(const std::string& name) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<bool> rename_to_free_name(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& name) override;
  Result<void> make_directory(const std::string& name) override { return real_->make_directory(name); }
  Result<void> sync_directory(const std::string& name) override;
  std::size_t block_bytes() override { return real_->block_bytes(); }
  Result<std::uint64_t> free_bytes() override {
    const std::optional<std::uint64_t> told = free_told.now();
    return told ? *told : real_->free_bytes();
  }

  /// Makes the call, or does what the hook wants instead.
  template <class Call>
  [[nodiscard]] Result<void> ask(const std::string& operation, const std::string& name, Call&& call) const {
    const DiskHook asked = hook.now();
    const int code = asked ? asked(operation, name) : 0;
    if (code == 0) return call();
    if (code == kPretend) return {};
    return errno_error(Fault::internal, name + ": " + operation, code);
  }

 private:
  std::unique_ptr<state::Disk> real_;
};

}  // namespace tap::tests
