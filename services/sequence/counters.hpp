// Counters: names in order, a number each; made for millions of them.
//
// What an archive brings is kept flat: names behind one another, and 16 bytes for each, so that a million is there in
// a tenth of a second and takes a third of what a tree of strings would. What is new since then is in such a tree,
// until the next start.
//
// Tests: tests/services/sequence_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tap::services {

/// A value. Invariants: a name is in one of the two; both are in the order of the names' bytes.
class Counters {
 public:
  /// Room for so many names of so many bytes together.
  void reserve(std::size_t names, std::size_t bytes);
  /// REQUIRES: nothing was set() yet, and `name` is above every other.
  void append(std::string_view name, std::uint64_t number);
  /// Changes that name's number, or adds the name.
  void set(std::string_view name, std::uint64_t number);

  /// That name's number; nullptr when it is not there. Valid until the next change.
  [[nodiscard]] const std::uint64_t* find(std::string_view name) const;
  [[nodiscard]] std::size_t size() const { return flat_.size() + added_.size(); }
  [[nodiscard]] std::size_t name_bytes() const { return name_bytes_; }
  /// The highest name; empty when there is none. REQUIRES: nothing was set() yet.
  [[nodiscard]] std::string_view last() const { return flat_.empty() ? std::string_view() : name_at(flat_.size() - 1); }
  /// Calls code(name, number) for the names above `after`, in order, while it returns true.
  template <class Code>
  void visit(std::string_view after, Code&& code) const;

 private:
  struct Flat {
    std::size_t name;  ///< where it begins in names_; it ends where the next one begins
    std::uint64_t number;
  };
  [[nodiscard]] std::string_view name_at(std::size_t index) const;
  /// The first of flat_ whose name is not below `name`.
  [[nodiscard]] std::size_t lower_bound(std::string_view name) const;

  std::string names_;
  std::vector<Flat> flat_;
  std::map<std::string, std::uint64_t, std::less<>> added_;
  std::size_t name_bytes_ = 0;
};

template <class Code>
void Counters::visit(std::string_view after, Code&& code) const {
  std::size_t flat = lower_bound(after);
  if (flat < flat_.size() && name_at(flat) == after) ++flat;
  auto added = added_.upper_bound(after);
  while (flat < flat_.size() || added != added_.end()) {
    const bool from_flat = added == added_.end() || (flat < flat_.size() && name_at(flat) < added->first);
    if (!(from_flat ? code(name_at(flat), flat_[flat].number) : code(std::string_view(added->first), added->second))) {
      return;
    }
    if (from_flat) ++flat;
    else ++added;
  }
}

}  // namespace tap::services
