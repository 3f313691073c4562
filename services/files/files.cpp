#include "services/files/files.hpp"

#include <algorithm>

#include "services/files/http.hpp"
#include "services/files/line.hpp"
#include "services/files/name.hpp"
#include "services/net/endpoint.hpp"

namespace tap::services {
namespace {

using namespace files;

constexpr char kWho[] = "files";

class FilesService final : public Service {
 public:
  explicit FilesService(const Options& options)
      : root_(options.path("root")),
        http_(options.list("http")),
        hidden_(options.boolean("hidden")),
        index_(options.boolean("index")),
        index_file_(options.text("index_file")),
        keep_ms_(options.duration_ms("keep")) {}

  [[nodiscard]] Result<void> start(net::Reactor& reactor) override {
    const std::string who = reactor.charged() == 0 ? kWho : reactor.name_of(reactor.charged());
    Result<std::unique_ptr<FileTree>> tree = FileTree::open(reactor, root_, who, keep_ms_);
    if (!tree) return std::move(tree).error();
    tree_ = std::move(tree).value();
    place_ = std::make_unique<Place>(Place{*tree_, hidden_, index_, index_file_});
    site_ = std::make_unique<net::HttpSite>(reactor);
    by_http_ = std::make_unique<HttpFactory>(*this);
    return {};
  }
  void stop() override {
    by_http_.reset();
    site_.reset();
    place_.reset();
    tree_.reset();
  }

  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
    return std::make_unique<FilesLine>(*place_);
  }
  [[nodiscard]] net::Factory& factory_for(const std::string& endpoint) override {
    if (std::find(http_.begin(), http_.end(), endpoint) != http_.end()) return *by_http_;
    return *this;
  }

  [[nodiscard]] std::vector<std::string> status() const override {
    if (place_ == nullptr) return {};
    const FilesCounts& counts = place_->counts;
    const TreeCounts& tree = tree_->counts();
    const auto text = [](std::uint64_t number) { return std::to_string(number); };
    return {text(counts.requests) + " requests, " + text(counts.files) + " files sent (" + text(counts.parts) +
                " in part), " + text(counts.unchanged) + " unchanged, " + text(counts.missing) + " missing, " +
                text(counts.refused) + " refused, " + text(counts.bad_requests) + " bad requests, " +
                text(counts.broken_off) + " broken off",
            text(tree.opened) + " looked up, " + text(tree.kept) + " known already, " + text(tree.unavailable) +
                " unavailable"};
  }

 private:
  class HttpFactory final : public net::Factory {
   public:
    explicit HttpFactory(FilesService& service) : service_(service) {}
    [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
      return std::make_unique<FilesHttp>(*service_.site_, *service_.place_);
    }

   private:
    FilesService& service_;
  };

  std::string root_;
  std::vector<std::string> http_;
  bool hidden_;
  bool index_;
  std::string index_file_;
  std::uint64_t keep_ms_;
  std::unique_ptr<FileTree> tree_;
  std::unique_ptr<Place> place_;
  std::unique_ptr<net::HttpSite> site_;
  std::unique_ptr<HttpFactory> by_http_;
};

Result<void> check_index_file(const std::string& name) {
  if (name.empty() || (is_plain_name(name) && name.find('/') == std::string::npos)) return {};
  return Error{Fault::config, "'" + name + "' is not the name of a file"};
}

std::optional<OptionProblem> check_together(const Options& options, const std::vector<std::string>& listen) {
  for (const std::string& endpoint : options.list("http")) {
    if (std::find(listen.begin(), listen.end(), endpoint) != listen.end()) continue;
    return OptionProblem{"http",
                         "'" + endpoint + "' is not among the endpoints that it listens on (write it the same way)"};
  }
  return std::nullopt;
}

}  // namespace

Kind files_kind() {
  using Type = OptionSpec::Type;
  Kind kind;
  kind.name = "files";
  kind.summary = "sends the files under a directory: `get NAME` by lines, GET and HEAD by HTTP";
  kind.options = {
      {"root", Type::text, {}, ".", "the directory; nothing outside of it is ever sent", true},
      {"http",
       Type::list,
       {},
       "",
       "an endpoint of --listen, written the same way, that speaks HTTP; the others take lines"},
      {"index", Type::boolean, {}, "false", "HTTP: whether a directory without an index_file is listed"},
      {"index_file",
       Type::text,
       {},
       "index.html",
       "HTTP: what is sent for a directory; empty: nothing",
       false,
       check_index_file},
      {"hidden", Type::boolean, {}, "false", "whether files and directories that begin with a dot are there"},
      {"keep",
       Type::duration,
       {},
       "1s",
       "a file that was opened is believed unchanged for so long; 0: it is looked at each time"}};
  kind.create = [](const Options& options) { return std::make_unique<FilesService>(options); };
  kind.check_together = check_together;
  return kind;
}

}  // namespace tap::services
