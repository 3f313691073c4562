#include "services/testing/test_application.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "services/application.hpp"
#include "services/committer.hpp"

namespace tap::testing {
namespace {

constexpr char kName[] = "Tested";
constexpr int kBacklog = 16;
/// Large enough that no second segment is begun by scripts of a sensible size: that one would be made by a thread, and
/// crashes would not come at the same places every time.
constexpr std::size_t kSegmentBytes = TestApplication::kJournalBytesMax;

/// A bound UNIX socket whose name the kernel makes up.
Result<Fd> bound_socket(sockaddr_un& address, socklen_t& size) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.open()) return errno_error(Fault::internal, "making a socket");
  address = {};
  address.sun_family = AF_UNIX;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(sa_family_t)) != 0) {
    return errno_error(Fault::internal, "binding a socket");
  }
  size = sizeof address;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return errno_error(Fault::internal, "looking at a socket's name");
  }
  return fd;
}

state::Definition definition_of(const services::Kind& kind, const TestedService& service) {
  state::Definition definition;
  definition.name = kName;
  state::ServiceDefinition one;
  one.name = kind.name;
  one.kind = kind.name;
  one.durability = service.durability;
  one.options = service.options;
  definition.services.push_back(std::move(one));
  return definition;
}

}  // namespace

// --- the client -------------------------------------------------------------------------------------------------

Result<void> TestClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno_error(Fault::unavailable, "sending a request");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

bool TestClient::read_now() {
  bool found = false;
  char piece[4096];
  while (!ended_) {
    const ssize_t got = ::recv(fd_.get(), piece, sizeof piece, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (got <= 0) {
      ended_ = true;
      break;
    }
    received_.append(piece, static_cast<std::size_t>(got));
    found = true;
  }
  return found;
}

// --- the application --------------------------------------------------------------------------------------------

struct TestApplication::Parts {
  Parts(SimulatedDisk& disk, const services::Kind& kind) : kinds({kind}), store(disk.plug_in()) {}

  [[nodiscard]] Result<void> recover(const state::Definition& definition);
  [[nodiscard]] Result<void> save_archive(std::uint64_t base_lsn);
  [[nodiscard]] Result<void> start_journal();
  [[nodiscard]] Result<void> open_port(const std::string& service);

  TestLoop loop;
  services::Registry kinds;
  state::Store store;
  std::optional<state::StoredArchive> stored;
  state::JournalEnd recovered;
  std::uint64_t epoch = 1;
  std::optional<state::SegmentSupply> supply;
  std::unique_ptr<services::Committer> committer;
  std::unique_ptr<services::Application> application;
  std::string broken;
  sockaddr_un address{};
  socklen_t address_bytes = 0;
};

Result<void> TestApplication::Parts::recover(const state::Definition& definition) {
  Result<std::optional<state::StoredArchive>> loaded = store.load();
  if (!loaded) return std::move(loaded).error();
  stored = std::move(loaded).value();
  Result<std::unique_ptr<services::Application>> made = services::Application::create(definition, kinds, loop.reactor);
  if (!made) return std::move(made).error();
  application = std::move(made).value();
  const bool fresh = !stored;
  if (stored) {
    if (Result<void> restored = application->restore(stored->archive); !restored) return restored;
    Result<state::JournalEnd> end = store.replay(stored->archive, application.get());
    if (!end) return std::move(end).error();
    recovered = std::move(end).value();
    if (Result<void> settled = application->settle(); !settled) return settled;
    if (Result<void> settled = store.settle(stored->archive, recovered); !settled) return settled;
    epoch = std::max(stored->archive.epoch, recovered.epoch) + 1;
  }
  if (fresh || recovered.unclean()) {
    if (Result<void> saved = save_archive(recovered.last_lsn); !saved) return saved;
  }
  return application->journaled() ? start_journal() : Result<void>();
}

Result<void> TestApplication::Parts::save_archive(std::uint64_t base_lsn) {
  Result<state::Archive> archive = application->collect(stored, base_lsn, epoch);
  if (!archive) return std::move(archive).error();
  Result<state::StoredArchive> saved = store.save(std::move(archive).value());
  if (!saved) return std::move(saved).error();
  stored = std::move(saved).value();
  return {};
}

Result<void> TestApplication::Parts::start_journal() {
  supply.emplace(store.disk(), kName, kSegmentBytes);
  Result<std::unique_ptr<state::JournalWriter>> writer =
      store.start_journal(*supply, stored->archive, recovered, epoch, application->introductions());
  if (!writer) return std::move(writer).error();
  // Before anybody asks for one: the committer would have a thread make it.
  if (Result<void> prepared = supply->prepare(); !prepared) return prepared;
  committer = std::make_unique<services::Committer>(
      loop.reactor, *supply, std::move(writer).value(), [this](const Error& error) { broken = error.message; },
      services::Committer::Place::loop);
  application->journal(*committer);
  return {};
}

Result<void> TestApplication::Parts::open_port(const std::string& service) {
  Result<Fd> bound = bound_socket(address, address_bytes);
  if (!bound) return std::move(bound).error();
  std::vector<services::ServiceSocket> sockets;
  sockets.push_back({service, std::move(bound).value(), net::StreamKind::unix_socket, kBacklog, "a test's socket"});
  return application->start(std::move(sockets));
}

TestApplication::TestApplication(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

TestApplication::~TestApplication() {
  parts_->application.reset();
  parts_->committer.reset();
}

Result<std::unique_ptr<TestApplication>> TestApplication::start(SimulatedDisk& disk, const services::Kind& kind,
                                                                const TestedService& service) {
  std::unique_ptr<TestApplication> made(new TestApplication(std::make_unique<Parts>(disk, kind)));
  Parts& parts = *made->parts_;
  if (Result<void> recovered = parts.recover(definition_of(kind, service)); !recovered)
    return std::move(recovered).error();
  if (Result<void> opened = parts.open_port(kind.name); !opened) return std::move(opened).error();
  return made;
}

TestLoop& TestApplication::loop() { return parts_->loop; }

Result<std::unique_ptr<TestClient>> TestApplication::connect() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.open()) return errno_error(Fault::internal, "making a client's socket");
  // Does not block: the listening socket has room for it.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&parts_->address), parts_->address_bytes) != 0) {
    return errno_error(Fault::internal, "connecting a client");
  }
  return std::make_unique<TestClient>(std::move(fd));
}

Result<Bytes> TestApplication::state() const {
  Result<state::Archive> archive = parts_->application->collect(parts_->stored, 0, parts_->epoch);
  if (!archive) return std::move(archive).error();
  return archive->sections.empty() ? Bytes() : archive->sections.front().payload;
}

bool TestApplication::outgrown() const { return parts_->supply && parts_->supply->ready_bytes() == 0; }

Result<void> TestApplication::stop() {
  if (!parts_->broken.empty()) return Error{Fault::internal, parts_->broken};
  parts_->application->abort_connections();
  parts_->application->stop();
  std::uint64_t last_lsn = parts_->recovered.last_lsn;
  if (parts_->committer != nullptr) {
    if (Result<void> sealed = parts_->committer->close(); !sealed) return sealed;
    last_lsn = parts_->committer->last_lsn();
  }
  return parts_->save_archive(last_lsn);
}

}  // namespace tap::testing
