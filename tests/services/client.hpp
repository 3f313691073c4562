// What the tests of the service kinds share: a service made as tapd makes it, and a client that is nothing but strings.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "services/change_log.hpp"
#include "services/kind.hpp"
#include "services/net/refusal.hpp"
#include "services/testing/string_transport.hpp"

namespace tap::tests {

inline std::unique_ptr<services::Service> make_service(
    const services::Kind& kind, const std::map<std::string, std::string>& given = {},
    services::Durability::Mode mode = services::Durability::Mode::strict) {
  Result<services::Options> options = kind.check(given);
  REQUIRE(options.ok());
  options->set_durability({mode, 0});
  return kind.create(*options);
}

/// One client of a service.
struct StringClient {
  explicit StringClient(services::Service& service) : protocol(service.build_protocol()) {
    protocol->attach(transport);
    protocol->connection_made();
  }
  std::string ask(const std::string& request) {
    protocol->data_received(request);
    return transport.take_written();
  }
  testing::StringTransport transport;
  std::unique_ptr<net::Protocol> protocol;
};

/// A journal that is a list; `full` makes it refuse.
class ListedLog final : public services::ChangeLog {
 public:
  [[nodiscard]] bool wants_changes() const override { return true; }
  void change(ByteView bytes) override {
    if (full) throw net::Refusal("the disk is full");
    changes.emplace_back(bytes);
  }
  void whole() override { FAIL("the state is recorded as a whole"); }

  std::vector<Bytes> changes;
  bool full = false;
};

/// What a service of that kind would be after a crash: the changes replayed, by what `initial` was saved.
inline void replay(services::Service& service, const ListedLog& log) {
  for (const Bytes& change : log.changes) {
    REQUIRE(service.state()->replay(state::RecordType::change, change, service.state()->schema_version()).ok());
  }
}

inline Bytes saved(services::Service& service) {
  Result<Bytes> payload = service.state()->save();
  REQUIRE(payload.ok());
  return std::move(payload).value();
}

}  // namespace tap::tests
