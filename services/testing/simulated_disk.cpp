#include "services/testing/simulated_disk.hpp"

#include <algorithm>
#include <cerrno>

namespace tap::testing {
namespace {

std::string directory_of(const std::string& name) {
  const std::size_t slash = name.find('/');
  return slash == std::string::npos ? "." : name.substr(0, slash);
}

ByteView part(const Bytes& bytes, std::size_t offset, std::size_t count) {
  return offset >= bytes.size() ? ByteView() : ByteView(bytes).substr(offset, count);
}

/// Whether `bytes` at `offset` would change nothing in `content`, where everything beyond its end counts as zero.
bool stands_there(const Bytes& content, std::size_t offset, ByteView bytes) {
  const ByteView there = part(content, offset, bytes.size());
  return there == bytes.substr(0, there.size()) && bytes.find_first_not_of('\0', there.size()) == ByteView::npos;
}

}  // namespace

// --- SharedBytes ------------------------------------------------------------------------------------------------

Bytes& SharedBytes::own() {
  if (bytes_.use_count() > 1) bytes_ = std::make_shared<Bytes>(*bytes_);
  return *bytes_;
}

void SharedBytes::put(std::size_t offset, ByteView bytes) {
  if (offset + bytes.size() <= bytes_->size() && part(*bytes_, offset, bytes.size()) == bytes) return;
  Bytes& mine = own();
  if (mine.size() < offset + bytes.size()) mine.resize(offset + bytes.size());
  mine.replace(offset, bytes.size(), bytes);
}

void SharedBytes::resize(std::size_t size) {
  if (bytes_->size() != size) own().resize(size);
}

// --- the disk and its files, as the store sees them -------------------------------------------------------------

class SimulatedDisk::File final : public state::DiskFile {
 public:
  File(SimulatedDisk& disk, std::uint64_t node, std::string name) : disk_(disk), node_(node), name_(std::move(name)) {}

  Result<void> write_at(std::uint64_t offset, ByteView bytes) override {
    const std::optional<Error> error = disk_.step(Call::write, name_ + ": writing");
    // A write that fails in the middle has written its beginning.
    if (error) bytes = bytes.substr(0, disk_.code_ == EROFS ? 0 : bytes.size() / 2 / kSectorBytes * kSectorBytes);
    Node& node = disk_.nodes_.at(node_);
    const auto at = static_cast<std::size_t>(offset);
    if (!bytes.empty()) {
      const bool grows = at + bytes.size() > node.visible->size();
      node.unsynced.push_back({disk_.next_++, at, Bytes(bytes), grows});
      node.visible.put(at, bytes);
    }
    return error ? Result<void>(*error) : Result<void>();
  }

  Result<Bytes> read_at(std::uint64_t offset, std::size_t count) override {
    if (std::optional<Error> error = disk_.step(Call::look, name_ + ": reading")) return *std::move(error);
    return Bytes(part(*disk_.nodes_.at(node_).visible, static_cast<std::size_t>(offset), count));
  }

  Result<std::uint64_t> size() override {
    if (std::optional<Error> error = disk_.step(Call::look, name_ + ": looking at it")) return *std::move(error);
    return std::uint64_t{disk_.nodes_.at(node_).visible->size()};
  }

  Result<void> sync() override {
    std::optional<Error> error = disk_.step(Call::sync, name_ + ": fdatasync");
    Node& node = disk_.nodes_.at(node_);
    if (error) {
      node.lied = node.lied || !node.unsynced.empty();
      node.unsynced.clear();
      return *std::move(error);
    }
    if (!node.lied) node.durable = node.visible;
    else
      for (const Write& write : node.unsynced) node.durable.put(write.offset, write.bytes);
    node.unsynced.clear();
    return {};
  }

 private:
  SimulatedDisk& disk_;
  std::uint64_t node_;
  std::string name_;
};

class SimulatedDisk::Face final : public state::Disk {
 public:
  explicit Face(SimulatedDisk& disk) : disk_(disk) {}

  Result<std::vector<std::string>> list() override {
    if (std::optional<Error> error = disk_.step(Call::look, "listing the directory")) return *std::move(error);
    std::vector<std::string> names(disk_.directories_.begin(), disk_.directories_.end());
    for (const auto& [name, node] : disk_.names_) {
      if (directory_of(name) == ".") names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<bool> exists(const std::string& name) override {
    if (std::optional<Error> error = disk_.step(Call::look, "looking for " + name)) return *std::move(error);
    return disk_.names_.count(name) != 0 || disk_.directories_.count(name) != 0;
  }

  Result<Bytes> read(const std::string& name, bool from_disk) override {
    if (std::optional<Error> error = disk_.step(Call::look, "reading " + name)) return *std::move(error);
    Result<std::uint64_t> found = disk_.find(name);
    if (!found) return std::move(found).error();
    const Node& node = disk_.nodes_.at(*found);
    return from_disk && node.lied ? on_disk(node) : *node.visible;
  }

  Result<std::unique_ptr<state::DiskFile>> create(const std::string& name) override {
    if (std::optional<Error> error = disk_.step(Call::write, "creating " + name)) return *std::move(error);
    if (disk_.names_.count(name) != 0) disk_.change_name(name, "", 0);
    const std::uint64_t node = disk_.next_++;
    disk_.nodes_[node];
    disk_.change_name("", name, node);
    return std::unique_ptr<state::DiskFile>(std::make_unique<File>(disk_, node, name));
  }

  Result<std::unique_ptr<state::DiskFile>> open(const std::string& name) override {
    if (std::optional<Error> error = disk_.step(Call::look, "opening " + name)) return *std::move(error);
    Result<std::uint64_t> node = disk_.find(name);
    if (!node) return std::move(node).error();
    return std::unique_ptr<state::DiskFile>(std::make_unique<File>(disk_, *node, name));
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
    if (std::optional<Error> error = disk_.step(Call::names, "renaming " + from)) return *std::move(error);
    Result<std::uint64_t> node = disk_.find(from);
    if (!node) return std::move(node).error();
    disk_.change_name(from, to, *node);
    return {};
  }

  Result<bool> rename_to_free_name(const std::string& from, const std::string& to) override {
    if (disk_.names_.count(to) != 0) return false;
    if (Result<void> renamed = rename(from, to); !renamed) return std::move(renamed).error();
    return true;
  }

  Result<void> remove(const std::string& name) override {
    if (std::optional<Error> error = disk_.step(Call::names, "removing " + name)) return *std::move(error);
    if (disk_.names_.count(name) != 0) disk_.change_name(name, "", 0);
    return {};
  }

  Result<void> make_directory(const std::string& name) override {
    if (std::optional<Error> error = disk_.step(Call::names, "making " + name)) return *std::move(error);
    disk_.directories_.insert(name);
    return {};
  }

  Result<void> sync_directory(const std::string& name) override {
    if (std::optional<Error> error = disk_.step(Call::sync, "fsync of the directory")) {
      disk_.lying_directories_.insert(name);
      return *std::move(error);
    }
    if (disk_.lying_directories_.count(name) != 0) return {};
    std::vector<NameChange> others;
    for (const NameChange& change : disk_.unsynced_names_) {
      if (change.in_directory(name)) apply(change, disk_.durable_names_);
      else others.push_back(change);
    }
    disk_.unsynced_names_ = std::move(others);
    disk_.forget_nameless();
    return {};
  }

  std::size_t block_bytes() override { return disk_.block_bytes_; }
  Result<std::uint64_t> free_bytes() override { return std::uint64_t{1} << 40U; }

 private:
  SimulatedDisk& disk_;
};

std::unique_ptr<state::Disk> SimulatedDisk::plug_in() { return std::make_unique<Face>(*this); }

// --- names ------------------------------------------------------------------------------------------------------

bool SimulatedDisk::NameChange::touches(const NameChange& other) const {
  const auto is = [&](const std::string& name) { return !name.empty() && (name == other.from || name == other.to); };
  return is(from) || is(to);
}

/// A rename from one directory to another is one change: either of the two that is synced makes it durable.
bool SimulatedDisk::NameChange::in_directory(const std::string& directory) const {
  return (!from.empty() && directory_of(from) == directory) || (!to.empty() && directory_of(to) == directory);
}

void SimulatedDisk::apply(const NameChange& change, Names& names) {
  if (!change.from.empty()) names.erase(change.from);
  if (!change.to.empty()) names[change.to] = change.node;
}

void SimulatedDisk::change_name(std::string from, std::string to, std::uint64_t node) {
  unsynced_names_.push_back({next_++, std::move(from), std::move(to), node});
  for (const std::string* name : {&unsynced_names_.back().from, &unsynced_names_.back().to}) {
    lying_directories_.erase(directory_of(*name));
  }
  apply(unsynced_names_.back(), names_);
}

Result<std::uint64_t> SimulatedDisk::find(const std::string& name) const {
  const auto found = names_.find(name);
  if (found == names_.end()) return errno_error(Fault::cannot_create, "opening " + name, ENOENT);
  return found->second;
}

std::map<std::string, Bytes> SimulatedDisk::files() const {
  std::map<std::string, Bytes> all;
  for (const auto& [name, node] : names_) all[name] = *nodes_.at(node).visible;
  return all;
}

void SimulatedDisk::put(const std::string& name, const Bytes& bytes) {
  const std::uint64_t node = next_++;
  nodes_[node].durable.put(0, bytes);
  nodes_[node].visible = nodes_[node].durable;
  names_[name] = durable_names_[name] = node;
}

void SimulatedDisk::erase(const std::string& name) {
  names_.erase(name);
  durable_names_.erase(name);
}

// --- trouble ----------------------------------------------------------------------------------------------------

void SimulatedDisk::fail_at(std::uint64_t call, int code, Trouble trouble) {
  fails_at_ = call;
  code_ = code;
  trouble_ = trouble;
  failed_ = false;
}

std::optional<Error> SimulatedDisk::step(Call call, const std::string& what) {
  if (call != Call::look) {
    if (watcher_) watcher_();
    ++changes_;
  }
  ++calls_;
  if (code_ == 0 || calls_ < fails_at_) return std::nullopt;
  if (code_ != EIO && call == Call::look)
    return std::nullopt;  // neither a full disk nor a read-only one hinders reading
  if (calls_ > fails_at_) {
    const bool full = code_ == ENOSPC;
    if (trouble_ == Trouble::once) return std::nullopt;
    if (trouble_ == Trouble::from_then && (call == Call::look || (full && call != Call::write))) return std::nullopt;
  }
  failed_ = true;
  return errno_error(Fault::internal, what, code_);
}

// --- crashes ----------------------------------------------------------------------------------------------------

Bytes SimulatedDisk::on_disk(const Node& node) {
  SharedBytes bytes = node.durable;
  for (const Write& write : node.unsynced) bytes.put(write.offset, write.bytes);
  return *bytes;
}

/// Of a write, only the sectors that change something: most of what is written is zeros over zeros.
void SimulatedDisk::add_pieces(std::uint64_t number, const Node& node, std::vector<Piece>& out) const {
  SharedBytes running = node.durable;
  for (std::size_t i = 0; i < node.unsynced.size(); ++i) {
    const Write& write = node.unsynced[i];
    if (write.grows) out.push_back({Piece::What::length, write.order, number, i, 0});
    for (std::size_t at = 0; at < write.bytes.size(); at += kSectorBytes) {
      const ByteView sector = part(write.bytes, at, kSectorBytes);
      const std::size_t offset = write.offset + at;
      if (stands_there(*node.durable, offset, sector) && stands_there(*running, offset, sector)) continue;
      out.push_back({Piece::What::sector, write.order, number, i, at / kSectorBytes});
    }
    if (i + 1 < node.unsynced.size()) running.put(write.offset, write.bytes);
  }
}

std::vector<SimulatedDisk::Piece> SimulatedDisk::pieces() const {
  std::vector<Piece> all;
  for (std::size_t i = 0; i < unsynced_names_.size(); ++i) {
    all.push_back({Piece::What::name, unsynced_names_[i].order, 0, i, 0});
  }
  for (const auto& [number, node] : nodes_) add_pieces(number, node, all);
  std::stable_sort(all.begin(), all.end(), [](const Piece& a, const Piece& b) { return a.order < b.order; });
  return all;
}

std::size_t SimulatedDisk::unsynced() const { return pieces().size(); }

SimulatedDisk SimulatedDisk::after_power_cut(const std::vector<bool>& kept) const {
  const std::vector<Piece> all = pieces();
  TAP_ASSERT(kept.size() == all.size());
  SimulatedDisk after(block_bytes_);
  after.durable_names_ = durable_names_;
  after.directories_ = directories_;
  after.next_ = next_;
  std::map<std::uint64_t, std::size_t> lengths;
  for (const auto& [number, node] : nodes_) {
    after.nodes_[number].durable = node.durable;
    lengths[number] = node.durable->size();
  }
  std::vector<const NameChange*> lost;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Piece& piece = all[i];
    if (piece.what == Piece::What::name) {
      const NameChange& change = unsynced_names_[piece.index];
      const bool stands = kept[i] && std::none_of(lost.begin(), lost.end(),
                                                  [&](const NameChange* other) { return change.touches(*other); });
      if (stands) apply(change, after.durable_names_);
      else lost.push_back(&change);
      continue;
    }
    if (!kept[i]) continue;
    const Write& write = nodes_.at(piece.node).unsynced[piece.index];
    if (piece.what == Piece::What::length) {
      lengths[piece.node] = std::max(lengths[piece.node], write.offset + write.bytes.size());
    } else {
      const std::size_t at = piece.sector * kSectorBytes;
      after.nodes_[piece.node].durable.put(write.offset + at, part(write.bytes, at, kSectorBytes));
    }
  }
  for (auto& [number, node] : after.nodes_) {
    node.durable.resize(lengths[number]);
    node.visible = node.durable;
  }
  after.names_ = after.durable_names_;
  after.forget_nameless();
  return after;
}

SimulatedDisk SimulatedDisk::after_kill() const {
  SimulatedDisk after = *this;
  after.watcher_ = nullptr;
  after.code_ = 0;
  after.calls_ = after.changes_ = 0;
  return after;
}

/// Files that no name can lead to any more. One that is open still has the name it was opened by, or a change of it.
void SimulatedDisk::forget_nameless() {
  if (!unsynced_names_.empty()) return;
  std::set<std::uint64_t> named;
  for (const Names* names : {&names_, &durable_names_}) {
    for (const auto& [name, node] : *names) named.insert(node);
  }
  for (auto node = nodes_.begin(); node != nodes_.end();) {
    node = named.count(node->first) != 0 ? std::next(node) : nodes_.erase(node);
  }
}

// --- outcomes ---------------------------------------------------------------------------------------------------

std::vector<std::vector<bool>> outcomes(std::size_t pieces, std::size_t most, std::mt19937_64& random) {
  std::set<std::vector<bool>> found;
  if (pieces < 20 && (std::size_t{1} << pieces) <= most) {
    for (std::size_t bits = 0; bits < (std::size_t{1} << pieces); ++bits) {
      std::vector<bool> kept(pieces);
      for (std::size_t i = 0; i < pieces; ++i) kept[i] = (bits >> i & 1U) != 0;
      found.insert(kept);
    }
    return {found.begin(), found.end()};
  }
  std::vector<std::vector<bool>> regular;
  for (std::size_t i = 0; i <= pieces; ++i) {
    std::vector<bool> beginning(pieces);
    std::fill_n(beginning.begin(), i, true);
    regular.push_back(beginning);
    beginning.flip();
    regular.push_back(beginning);  // the end
    std::vector<bool> alone(pieces);
    if (i < pieces) alone[i] = true;
    regular.push_back(alone);
    alone.flip();
    regular.push_back(alone);  // all the others
  }
  found.insert(regular[0]);
  found.insert(regular[1]);
  std::shuffle(regular.begin(), regular.end(), random);
  const std::size_t by_chance = most / 4;
  for (std::size_t i = 0; i < regular.size() && found.size() + by_chance < most; ++i) found.insert(regular[i]);
  // There are more than `most`, so this ends.
  while (found.size() < most) {
    std::vector<bool> kept(pieces);
    const std::uint64_t mostly = random() % 4;
    for (std::size_t i = 0; i < pieces; ++i) kept[i] = mostly == 0 ? random() % 8 == 0 : random() % 4 < mostly;
    found.insert(kept);
  }
  return {found.begin(), found.end()};
}

}  // namespace tap::testing
