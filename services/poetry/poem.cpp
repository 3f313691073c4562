#include "services/poetry/poem.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "services/net/deferred_tools.hpp"
#include "services/net/pool.hpp"

namespace tap::services {
namespace {

std::uint64_t nanoseconds(const timespec& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

Result<PoemStamp> stamp_of(int fd) {
  struct stat found {};
  if (::fstat(fd, &found) != 0) return errno_error(Fault::internal, "looking at it");
  if (!S_ISREG(found.st_mode)) return Error{Fault::no_input, "it is no regular file"};
  return PoemStamp{found.st_dev, found.st_ino, static_cast<std::uint64_t>(found.st_size), nanoseconds(found.st_mtim),
                   nanoseconds(found.st_ctim)};
}

/// Whether a change that comes next could have the same time.
bool as_young_as_now(const PoemStamp& stamp) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);  // what files are stamped with
  const std::uint64_t now_ns = nanoseconds(now);
  constexpr std::uint64_t kGrainNs = 10'000'000;  // a tick, at the slowest (CONFIG_HZ_100)
  return stamp.modified_ns + kGrainNs > now_ns && stamp.modified_ns < now_ns + kGrainNs;
}

/// All of `size` bytes from `at` on, less at the file's end.
Result<std::string> read_at(int fd, std::uint64_t at, std::size_t size) {
  std::string bytes(size, '\0');
  std::size_t got = 0;
  while (got < size) {
    const ssize_t more = ::pread(fd, bytes.data() + got, size - got, static_cast<off_t>(at + got));
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) return errno_error(Fault::internal, "reading it");
    if (more == 0) break;
    got += static_cast<std::size_t>(more);
  }
  bytes.resize(got);
  return bytes;
}

Error changes_now() { return Error{Fault::temporary, "it is being written"}; }

/// As it is called in the pool.
class Opening {
 public:
  Opening(std::string path, PoemPointer present) : path_(std::move(path)), present_(std::move(present)) {}
  Result<PoemPointer> operator()() const { return Poem::open(path_, present_); }

 private:
  std::string path_;
  PoemPointer present_;
};

class Reading {
 public:
  Reading(PoemPointer poem, std::uint64_t at, std::size_t size) : poem_(std::move(poem)), at_(at), size_(size) {}
  Result<std::string> operator()() const { return poem_->read(at_, size_); }

 private:
  PoemPointer poem_;
  std::uint64_t at_;
  std::size_t size_;
};

}  // namespace

Result<PoemPointer> Poem::open(const std::string& path, const PoemPointer& present) {
  // O_NONBLOCK: a FIFO of this name may not hold up the thread until somebody writes to it.
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.open()) {
    const bool forbidden = errno == EACCES || errno == EPERM;
    return errno_error(forbidden ? Fault::permission : Fault::no_input, "opening " + path);
  }
  Result<PoemStamp> stamp = stamp_of(file.get());
  if (!stamp) return std::move(stamp.error()).with(path);
  if (present != nullptr && present->stamp_ == *stamp) return present;
  if (as_young_as_now(*stamp)) return changes_now().with(path);
  std::shared_ptr<Poem> poem(new Poem(*stamp, std::move(file)));
  if (stamp->size > kInMemoryBytesMax) return PoemPointer(std::move(poem));
  Result<std::string> text = poem->read(0, static_cast<std::size_t>(stamp->size));
  if (!text && text.error().fault == Fault::damaged) return changes_now().with(path);
  if (!text) return std::move(text.error()).with(path);
  poem->text_ = std::move(text).value();
  poem->file_.reset();
  return PoemPointer(std::move(poem));
}

Result<std::string> Poem::read(std::uint64_t at, std::size_t bytes_max) const {
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(bytes_max, stamp_.size - at));
  Result<std::string> bytes = read_at(file_.get(), at, wanted);
  if (!bytes) return bytes;
  // After the bytes: a change that they show has its time by now.
  const Result<PoemStamp> now = stamp_of(file_.get());
  if (!now) return now.error();
  if (bytes->size() != wanted || !now->same_bytes(stamp_)) {
    return Error{Fault::damaged, "the poem was changed while it was read to a client"};
  }
  return bytes;
}

net::Deferred<std::string> read_poem(net::Reactor& reactor, PoemPointer poem, std::uint64_t at, std::size_t size) {
  return net::defer_to_thread(reactor, Reading(std::move(poem), at, size));
}

// --- the present version ------------------------------------------------------------------------------------------

PoemFile::PoemFile(net::Reactor& reactor, std::string path)
    : reactor_(reactor), path_(std::move(path)), who_(reactor.name_of(reactor.charged())) {}

net::Deferred<PoemPointer> PoemFile::get() {
  asked_.emplace_back();
  net::Deferred<PoemPointer> answer = asked_.back().deferred();
  if (looking_.done()) looking_ = look();
  return answer;
}

/// One look at a time. Who asks while one is under way is answered by the next: the file may have changed since.
net::Deferred<void> PoemFile::look() {
  while (!asked_.empty()) {
    std::vector<net::DeferredSource<PoemPointer>> asked = std::exchange(asked_, {});
    Result<PoemPointer> found = co_await look_once();
    for (int looks = 1; !found && found.error().fault == Fault::temporary && looks < kLooksMax; ++looks) {
      const Result<void> slept = co_await net::sleep_for(reactor_, Poem::kSettleMs);
      if (!slept) co_return;
      found = co_await look_once();
    }
    keep(found);
    for (net::DeferredSource<PoemPointer>& one : asked) one.answer(Result<PoemPointer>(found));
  }
}

net::Deferred<PoemPointer> PoemFile::look_once() {
  const PoemPointer present = kept_ != nullptr ? kept_ : in_use_.lock();
  return net::defer_to_thread(reactor_, Opening(path_, present));
}

void PoemFile::keep(const Result<PoemPointer>& found) {
  if (!found) {
    ++failures_;
    if (!failing_) {
      reactor_.log().write(LogLevel::warning, who_,
                           "the poem cannot be read, clients get nothing: " + found.error().message);
    }
    failing_ = true;
    return;
  }
  if (failing_) reactor_.log().write(LogLevel::info, who_, "the poem can be read again: " + path_);
  failing_ = false;
  if (versions_ == 0 || !((*found)->stamp() == last_)) ++versions_;
  last_ = (*found)->stamp();
  kept_ = (*found)->in_memory() ? *found : nullptr;
  in_use_ = *found;
}

void PoemFile::let_go(PoemPointer poem) {
  if (poem == nullptr || poem->in_memory() || poem.use_count() > 1) return;
  closing_.erase(std::remove_if(closing_.begin(), closing_.end(), [](const auto& one) { return one.done(); }),
                 closing_.end());
  closing_.push_back(net::defer_to_thread(reactor_, [last = std::move(poem)]() mutable { last.reset(); }));
}

}  // namespace tap::services
