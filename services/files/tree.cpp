#include "services/files/tree.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "services/net/pool.hpp"

namespace tap::services::files {

FileTree::FileTree(net::Reactor& reactor, std::string service, Fd root, std::uint64_t keep_ms)
    : reactor_(reactor),
      service_(std::move(service)),
      root_(std::make_shared<const Fd>(std::move(root))),
      guard_(guard_of_kernel(root_->get())),
      keep_ms_(keep_ms) {}

Result<std::unique_ptr<FileTree>> FileTree::open(net::Reactor& reactor, const std::string& root, std::string service,
                                                 std::uint64_t keep_ms) {
  Fd fd(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.open()) return errno_error(errno == EACCES ? Fault::permission : Fault::no_input, "the root " + root);
  return std::unique_ptr<FileTree>(new FileTree(reactor, std::move(service), std::move(fd), keep_ms));
}

const Found* FileTree::known(std::string_view name) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  const auto kept = found->second;
  if (kept->until_ms <= reactor_.now_ms()) {
    forget(kept);
    return nullptr;
  }
  ++counts_.kept;
  kept_.splice(kept_.begin(), kept_, kept);
  return &kept->found;
}

net::Deferred<Found> FileTree::look_up(const std::string& name) {
  const auto [place, first] = opening_.try_emplace(name);
  net::Deferred<Found> answer = place->second.waiting.emplace_back().deferred();
  if (!first) return answer;
  if (working_ < kOpeningMax) begin(name);
  else next_.push_back(name);
  return answer;
}

void FileTree::begin(const std::string& name) {
  ++working_;
  ++counts_.opened;
  // Opened files share the descriptors with connections: those kept back for the journal and the logs are not taken.
  const bool enough = reactor_.descriptors().enough();
  const auto work = [root = root_, name, guard = guard_, enough]() -> Found {
    if (!enough) return {Found::What::unavailable};
    return open_beneath(root->get(), name, guard, std::time(nullptr));
  };
  opening_.find(name)->second.work = net::defer_to_thread(reactor_, work).add_both([this, name](Result<Found> result) {
    ended(name, std::move(result));
  });
}

void FileTree::ended(const std::string& name, Result<Found> result) {
  --working_;
  const auto place = opening_.find(name);
  Opening over = std::move(place->second);
  opening_.erase(place);
  const Found found = result ? std::move(result).value() : Found{Found::What::unavailable};
  if (found.what == Found::What::unavailable) say_unavailable();
  if (found.what == Found::What::file) keep(name, found);
  if (!next_.empty()) {
    const std::string next = std::move(next_.front());
    next_.pop_front();
    begin(next);
  }
  for (net::DeferredSource<Found>& waiting : over.waiting) waiting.callback(found);
}

void FileTree::say_unavailable() {
  ++counts_.unavailable;
  if (said_.active()) return;
  reactor_.log().write(LogLevel::warning, service_,
                       "files cannot be opened: there are no descriptors left, or the disk fails");
  said_ = reactor_.call_later(kSaidMs, [] {});
}

void FileTree::keep(const std::string& name, const Found& found) {
  if (keep_ms_ == 0) return;
  if (const auto before = by_name_.find(name); before != by_name_.end()) forget(before->second);
  kept_.push_front({name, found, reactor_.now_ms() + keep_ms_});
  by_name_.emplace(name, kept_.begin());
  content_kept_bytes_ += found.file->content.size();
  if (!found.file->in_memory()) ++descriptors_kept_;
  while (kept_.size() > kKeptMax || descriptors_kept_ > kDescriptorsKeptMax || content_kept_bytes_ > kContentKeptMax) {
    forget(std::prev(kept_.end()));
  }
}

void FileTree::forget(std::list<Kept>::iterator kept) {
  content_kept_bytes_ -= kept->found.file->content.size();
  if (!kept->found.file->in_memory()) --descriptors_kept_;
  by_name_.erase(kept->name);
  kept_.erase(kept);
}

net::Deferred<std::string> FileTree::page(const std::string& name, bool hidden) {
  return net::defer_to_thread(reactor_, [root = root_, name, guard = guard_, hidden] {
    return directory_page(root->get(), name, guard, hidden);
  });
}

net::Deferred<void> FileTree::fetch(std::shared_ptr<const OpenedFile> file, std::uint64_t offset, std::size_t bytes) {
  return net::defer_to_thread(reactor_, [file = std::move(file), offset, bytes] {
    std::string piece(std::size_t{64} * 1024, '\0');
    for (std::size_t done = 0; done < bytes;) {
      const ssize_t got = ::pread(file->fd.get(), piece.data(), std::min(piece.size(), bytes - done),
                                  static_cast<off_t>(offset + done));
      if (got <= 0) return;  // whoever sends it meets that too
      done += static_cast<std::size_t>(got);
    }
  });
}

}  // namespace tap::services::files
