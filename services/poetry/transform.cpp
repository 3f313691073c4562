#include "services/poetry/transform.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/framed_protocol.hpp"
#include "services/poetry/transforms.hpp"

namespace tap::services {
namespace {

class TransformService final : public Service {
 public:
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override;
  [[nodiscard]] std::vector<std::string> status() const override {
    std::string text = "transformed:";
    for (std::size_t i = 0; i < done_.size(); ++i) {
      text.append(i == 0 ? " " : ", ")
          .append(std::to_string(done_[i]))
          .append(" by ")
          .append(poem_transforms()[i].name);
    }
    return {text + "; " + std::to_string(refused_) + " requests for something else"};
  }

  void count(const PoemTransform* transform) {
    if (transform == nullptr) ++refused_;
    else ++done_[static_cast<std::size_t>(transform - poem_transforms().data())];
  }

 private:
  std::vector<std::uint64_t> done_ = std::vector<std::uint64_t>(poem_transforms().size());
  std::uint64_t refused_ = 0;
};

/// Of a name that came from outside, what can stand in a log.
std::string shown(std::string_view name) {
  constexpr std::size_t kShownMax = 32;
  std::string text(name.substr(0, kShownMax));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return name.size() > kShownMax ? text + "..." : text;
}

class Transforming final : public net::NetstringProtocol {
 public:
  explicit Transforming(TransformService& service) : NetstringProtocol(kTransformBytesMax), service_(service) {}

 private:
  void string_received(std::string_view request) override {
    const std::size_t stop = request.find('.');
    const std::string_view name = request.substr(0, stop);
    const PoemTransform* transform = stop == std::string_view::npos ? nullptr : find_poem_transform(name);
    service_.count(transform);
    if (stop == std::string_view::npos) transport().fail("a request has no full stop after the transform's name");
    else if (transform == nullptr) transport().fail("there is no transform '" + shown(name) + "'");
    else send_string(transform->apply(request.substr(stop + 1)));
  }

  TransformService& service_;
};

std::unique_ptr<net::Protocol> TransformService::build_protocol() { return std::make_unique<Transforming>(*this); }

}  // namespace

Kind poetry_transform_kind() {
  Kind kind;
  kind.name = "poetry-transform";
  kind.summary = "transforms poems, netstrings in and out; a request is NAME.POEM, names are";
  for (const PoemTransform& transform : poem_transforms()) {
    kind.summary.append(&transform == poem_transforms().data() ? " " : ", ").append(transform.name);
    kind.summary.append(" (").append(transform.does).append(")");
  }
  kind.create = [](const Options& /*options*/) { return std::make_unique<TransformService>(); };
  return kind;
}

}  // namespace tap::services
