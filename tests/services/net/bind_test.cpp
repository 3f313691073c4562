#include "services/net/bind.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <ctime>
#include <optional>
#include <string>

#include "services/net/address.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/socket.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::net;
using tap::tests::Client;
using tap::tests::TemporaryDirectory;

namespace {

Result<BoundEndpoint> bind_text(const std::string& text) {
  Result<Endpoint> endpoint = parse_endpoint(text);
  REQUIRE(endpoint.ok());
  return bind_endpoint(*endpoint, std::nullopt);
}

BoundEndpoint bind_well(const std::string& text) {
  Result<BoundEndpoint> bound = bind_text(text);
  if (!bound) FAIL_CHECK(bound.error().message);
  REQUIRE(bound.ok());
  return std::move(bound).value();
}

Error bind_badly(const std::string& text) {
  Result<BoundEndpoint> bound = bind_text(text);
  REQUIRE(!bound.ok());
  return std::move(bound).error();
}

std::string port_of(const BoundEndpoint& bound) { return bound.text.substr(bound.text.rfind(':') + 1); }

unsigned mode_of(const std::string& path) {
  struct stat found {};
  return ::lstat(path.c_str(), &found) == 0 ? static_cast<unsigned>(found.st_mode & 07777U) : 0;
}

/// Files made from now on can be told from earlier ones by their times: those have the kernel's coarse grain.
void wait_for_another_timestamp() {
  timespec before{};
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &before);
  do ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

/// Sets the umask for a test's length.
class Umask {
 public:
  explicit Umask(mode_t mask) : before_(::umask(mask)) {}
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;
  ~Umask() { ::umask(before_); }

 private:
  mode_t before_;
};

}  // namespace

TEST_CASE("bind: tcp binds a free port, tells which, and does not listen yet") {
  const BoundEndpoint bound = bind_well("tcp:0:interface=127.0.0.1");
  CHECK(bound.text.substr(0, 14) == "tcp:127.0.0.1:");
  CHECK(port_of(bound) != "0");
  CHECK(bound.endpoint.text == "tcp:0:interface=127.0.0.1");
  const auto port = static_cast<std::uint16_t>(std::stoi(port_of(bound)));
  CHECK(!Client::tcp(port).open());
  REQUIRE(::listen(bound.fd.get(), 1) == 0);
  CHECK(Client::tcp(port).open());
  CHECK((::fcntl(bound.fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("bind: tcp without an interface takes all of them") {
  const BoundEndpoint bound = bind_well("tcp:0");
  CHECK(bound.text == "tcp:0.0.0.0:" + port_of(bound));
}

TEST_CASE("bind: tcp6 is IPv6 only") {
  Result<BoundEndpoint> bound = bind_text("tcp6:0:interface=[::1]");
  if (!bound) {
    MESSAGE("skipped: this machine has no IPv6 (" << bound.error().message << ")");
    return;
  }
  CHECK(bound->text == "tcp6:[::1]:" + port_of(*bound));
  const BoundEndpoint any = bind_well("tcp6:0");
  CHECK(any.text == "tcp6:[::]:" + port_of(any));
  // The same port is free for IPv4.
  CHECK(bind_text("tcp:" + port_of(any)).ok());
}

TEST_CASE("bind: udp binds a free port and tells which; a taken one is unavailable") {
  const BoundEndpoint first = bind_well("udp:0:interface=127.0.0.1");
  CHECK(first.text == "udp:127.0.0.1:" + port_of(first));
  const std::string text = "udp:" + port_of(first) + ":interface=127.0.0.1";
  const Error error = bind_badly(text);
  CHECK(error.fault == Fault::unavailable);
  CHECK(error.message ==
        "cannot bind " + text + " (another program uses it; `ss -lnup` tells which): Address already in use");
}

TEST_CASE("bind: a port that somebody listens on is unavailable, with the endpoint and the reason") {
  const BoundEndpoint first = bind_well("tcp:0:interface=127.0.0.1");
  REQUIRE(::listen(first.fd.get(), 1) == 0);
  const std::string text = "tcp:" + port_of(first) + ":interface=127.0.0.1";
  const Error error = bind_badly(text);
  CHECK(error.fault == Fault::unavailable);
  CHECK(error.exit_code() == 69);
  CHECK(error.message ==
        "cannot bind " + text + " (another program uses it; `ss -lntpx` tells which): Address already in use");
}

TEST_CASE("bind: an address that is not ours is unavailable") {
  const Error error = bind_badly("tcp:0:interface=192.0.2.1");  // RFC 5737: nobody's
  CHECK(error.fault == Fault::unavailable);
  CHECK(error.message == "cannot bind tcp:0:interface=192.0.2.1: Cannot assign requested address");
}

TEST_CASE("bind: connections that have just ended do not keep the next daemon from its port") {
  std::string port;
  {
    const BoundEndpoint first = bind_well("tcp:0:interface=127.0.0.1");
    port = port_of(first);
    REQUIRE(::listen(first.fd.get(), 1) == 0);
    Client client = Client::tcp(static_cast<std::uint16_t>(std::stoi(port)));
    const Fd accepted(::accept(first.fd.get(), nullptr, nullptr));
    REQUIRE(accepted.open());
    ::shutdown(accepted.get(), SHUT_RDWR);  // we end first: the TIME_WAIT is ours
    CHECK(client.read_all().empty());
  }
  CHECK(bind_text("tcp:" + port + ":interface=127.0.0.1").ok());
}

TEST_CASE("bind: unix makes a socket file with the mode asked for, whatever the umask") {
  const TemporaryDirectory directory;
  const Umask strict(0077);
  const std::string path = directory / "s.sock";
  const BoundEndpoint bound = bind_well("unix:" + path + ":mode=666");
  CHECK(bound.text == "unix:" + path);
  CHECK(mode_of(path) == 0666);
  CHECK(!Client::unix_socket(path).open());
  REQUIRE(::listen(bound.fd.get(), 1) == 0);
  CHECK(Client::unix_socket(path).open());
  const BoundEndpoint plain = bind_well("unix:" + (directory / "plain.sock"));
  CHECK(mode_of(directory / "plain.sock") == 0700);
}

TEST_CASE("bind: a socket file is given to the user that the services run as") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can give files away");
    return;
  }
  const TemporaryDirectory directory;
  const std::string path = directory / "s.sock";
  Result<Endpoint> endpoint = parse_endpoint("unix:" + path);
  REQUIRE(endpoint.ok());
  CHECK(bind_endpoint(*endpoint, SocketOwner{12345, 23456}).ok());
  struct stat found {};
  REQUIRE(::lstat(path.c_str(), &found) == 0);
  CHECK(found.st_uid == 12345);
  CHECK(found.st_gid == 23456);
}

TEST_CASE("bind: a socket file that nobody answers on is replaced") {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.sock";
  {
    const BoundEndpoint gone = bind_well("unix:" + path);
    REQUIRE(::listen(gone.fd.get(), 1) == 0);
  }
  REQUIRE(tests::exists(path));
  const BoundEndpoint bound = bind_well("unix:" + path);
  REQUIRE(::listen(bound.fd.get(), 1) == 0);
  CHECK(Client::unix_socket(path).open());
}

TEST_CASE("bind: a socket file that somebody answers on is unavailable and untouched") {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.sock";
  const BoundEndpoint living = bind_well("unix:" + path);
  REQUIRE(::listen(living.fd.get(), 1) == 0);
  const Error error = bind_badly("unix:" + path);
  CHECK(error.exit_code() == 69);
  CHECK(error.message.find("cannot bind unix:" + path) == 0);
  CHECK(error.message.find("another program uses it") != std::string::npos);
  CHECK(Client::unix_socket(path).open());
}

TEST_CASE("bind: a living socket whose backlog is full is not taken for a dead one") {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.sock";
  const BoundEndpoint living = bind_well("unix:" + path);
  REQUIRE(::listen(living.fd.get(), 0) == 0);
  const Client fills = Client::unix_socket(path);
  REQUIRE(fills.open());
  CHECK(bind_badly("unix:" + path).exit_code() == 69);
  CHECK(tests::exists(path));
}

TEST_CASE("bind: a living socket that does not listen yet is not taken for a dead one") {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.sock";
  const BoundEndpoint recovering = bind_well("unix:" + path);
  CHECK(bind_badly("unix:" + path).exit_code() == 69);
  REQUIRE(::listen(recovering.fd.get(), 1) == 0);
  CHECK(Client::unix_socket(path).open());
}

TEST_CASE("bind: a datagram socket is not taken for a dead one while it lives") {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.sock";
  Fd datagrams(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(datagrams.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(bind_badly("unix:" + path).exit_code() == 69);
  datagrams.reset();
  CHECK(bind_text("unix:" + path).ok());
}

TEST_CASE("bind: a path that is no socket is unavailable and untouched") {
  const TemporaryDirectory directory;
  const std::string path = directory / "precious";
  tests::write_text(path, "data");
  const Error error = bind_badly("unix:" + path);
  CHECK(error.exit_code() == 69);
  CHECK(error.message == "cannot bind unix:" + path + ": " + path + " is there and not a socket");
  CHECK(tests::read_text(path) == "data");
  const std::string link = directory / "link";
  REQUIRE(::symlink(path.c_str(), link.c_str()) == 0);
  CHECK(bind_badly("unix:" + link).exit_code() == 69);
  CHECK(tests::exists(link));
  CHECK(bind_badly("unix:" + directory.path()).exit_code() == 69);
  REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
  CHECK(bind_badly("unix:" + (directory / "fifo")).exit_code() == 69);
}

TEST_CASE("bind: a UNIX path that a working directory has made too long is an error, and no crash") {
  const tests::ChildEnd end = tests::in_child([] {
    Endpoint endpoint;
    endpoint.type = Endpoint::Type::unix_socket;
    endpoint.text = "unix:s.sock";
    endpoint.path = "/" + std::string(200, 'x') + "/s.sock";
    const Result<BoundEndpoint> bound = bind_endpoint(endpoint, std::nullopt);
    ::_exit(!bound.ok() && bound.error().message.find("unix:s.sock") != std::string::npos ? 0 : 1);
  });
  CHECK(end.signal == 0);
  CHECK(end.code == 0);
}

TEST_CASE("bind: a UNIX path in a directory that is not there is unavailable") {
  const TemporaryDirectory directory;
  const std::string text = "unix:" + (directory / "none/s.sock");
  const Error error = bind_badly(text);
  CHECK(error.exit_code() == 69);
  CHECK(error.message.find(text) != std::string::npos);
  CHECK(error.message.find("No such file or directory") != std::string::npos);
}

TEST_CASE("bind: fd takes a listening socket and says where it listens") {
  const BoundEndpoint listening = bind_well("tcp:0:interface=127.0.0.1");
  REQUIRE(::listen(listening.fd.get(), 1) == 0);
  const BoundEndpoint bound = bind_well("fd:" + std::to_string(listening.fd.get()));
  CHECK(bound.text == listening.text);
  CHECK(bound.fd.get() != listening.fd.get());
  CHECK((::fcntl(bound.fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  const TemporaryDirectory directory;
  const BoundEndpoint local = bind_well("unix:" + (directory / "s.sock"));
  REQUIRE(::listen(local.fd.get(), 1) == 0);
  CHECK(bind_well("fd:" + std::to_string(local.fd.get())).text == local.text);
}

TEST_CASE("bind: fd refuses what does not listen, what is no socket, and what is not open") {
  const BoundEndpoint silent = bind_well("tcp:0:interface=127.0.0.1");
  const std::string bound_only = "fd:" + std::to_string(silent.fd.get());
  CHECK(bind_badly(bound_only).exit_code() == 69);
  CHECK(bind_badly(bound_only).message == "cannot use the descriptor of " + bound_only + ": it does not listen");
  const Fd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  CHECK(bind_badly("fd:" + std::to_string(udp.get())).exit_code() == 69);
  const Fd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::string no_socket = "fd:" + std::to_string(file.get());
  CHECK(bind_badly(no_socket).message ==
        "cannot use the descriptor of " + no_socket + ": Socket operation on non-socket");
  CHECK(bind_badly("fd:999999").message == "cannot use the descriptor of fd:999999: Bad file descriptor");
}

TEST_CASE("bind: stdio needs no socket") {
  const BoundEndpoint bound = bind_well("stdio:");
  CHECK(!bound.fd.open());
  CHECK(bound.text == "stdio:");
}

TEST_CASE("bind: unlink_endpoint removes its own socket file, and another's not") {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.sock";
  BoundEndpoint first = bind_well("unix:" + path);
  const Fd inode_in_use(::open(path.c_str(), O_PATH | O_CLOEXEC));
  first.fd.reset();
  const BoundEndpoint second = bind_well("unix:" + path);
  unlink_endpoint(first);
  CHECK(tests::exists(path));
  unlink_endpoint(second);
  CHECK(!tests::exists(path));
  unlink_endpoint(second);  // nothing is there any more
  tests::write_text(path, "a file");
  unlink_endpoint(second);
  CHECK(tests::read_text(path) == "a file");
  unlink_endpoint(bind_well("tcp:0:interface=127.0.0.1"));
}

TEST_CASE("bind: unlink_endpoint knows another's socket file also when it has got the same inode") {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.sock";
  BoundEndpoint first = bind_well("unix:" + path);
  first.fd.reset();
  wait_for_another_timestamp();
  const BoundEndpoint second = bind_well("unix:" + path);  // most file systems give the inode out again
  unlink_endpoint(first);
  CHECK(tests::exists(path));
}

TEST_CASE("address: texts are those of the endpoints") {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(8888);
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(address_text(reinterpret_cast<sockaddr*>(&v4), sizeof v4) == "127.0.0.1:8888");
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(8888);
  v6.sin6_addr = in6addr_loopback;
  CHECK(address_text(reinterpret_cast<sockaddr*>(&v6), sizeof v6) == "[::1]:8888");
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  CHECK(address_text(reinterpret_cast<sockaddr*>(&local), offsetof(sockaddr_un, sun_path)) == "unix");
  local.sun_path[0] = '/';
  CHECK(address_text(reinterpret_cast<sockaddr*>(&local), sizeof local) == "unix:/");
  sockaddr other{};
  other.sa_family = AF_UNSPEC;
  CHECK(address_text(&other, sizeof other) == "an unknown address");
  CHECK(peer_address_text(-1) == "a peer that has gone");
}
