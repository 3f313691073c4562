// The port forwarder between programs that no one here wrote: Python's sockets and TLS, iperf3; Twisted's beside it.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "tests/end_to_end/daemon.hpp"
#include "tests/services/net/certificates.hpp"

using namespace tap::tests;

namespace {

std::string source(const std::string& name) {
  const char* root = std::getenv("TAP_SOURCE");
  REQUIRE(root != nullptr);
  return std::string(root) + "/tests/end_to_end/" + name;
}

}  // namespace

TEST_CASE(
    "portforward: echo through all pairs of tcp, unix and tls, a refused target, and iperf3 (TAP_LONG=1: 1 GB each)") {
  Certificates authority;
  const CertificateFiles files = authority.make("localhost");
  const TemporaryDirectory directory;
  const std::string megabytes = long_run() ? "1024" : "8";
  // Python's own waits end it when something hangs.
  Process peers({"python3", "-B", source("forward_peers.py"), program("tapd"), files.key, files.certificate,
                 authority.root(), megabytes},
                directory.path());
  std::string said;
  for (std::string line = peers.read_line(); !line.empty(); line = peers.read_line()) said += line + "\n";
  const Ended ended = peers.wait();
  CHECK_MESSAGE(ended.code == 0, said << ended.err);
  CHECK(count_of(said, "echoed ") == 9);
  CHECK(count_of(said, "iperf3 ") == 2);
  MESSAGE(said);
}
