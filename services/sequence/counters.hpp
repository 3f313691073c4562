// Counters: names in order, a number each; made for millions of them.
//
// What an archive brings is kept flat: names behind one another, and 16 bytes for each, so that a million is there in
// a tenth of a second and takes a third of what a tree of strings would. What is set is first only written down; the
// next who asks has it put in its place. One at a time, as services do, it goes into a tree. Many at once, as in a
// replay of the journal, are sorted and merged into what is flat, four times faster than a tree of them would grow.
//
// Tests: tests/services/counters_test.cpp, sequence_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tap::services {

/// A value. Names have no zero bytes.
/// Thread:     one at a time, also for what is const: it may put in order what was set.
/// Invariants: a name is in flat_ or in added_, both in the order of the names' bytes;
/// what notes_ says comes after them.
class Counters {
 public:
  /// So many that were set without a question between them are merged.
  static constexpr std::size_t kMergeFrom = 1000;

  /// Room for so many names of so many bytes together.
  void reserve(std::size_t names, std::size_t bytes);
  /// REQUIRES: nothing was set() yet, and `name` is above every other.
  void append(std::string_view name, std::uint64_t number);
  /// Changes that name's number, or adds the name.
  void set(std::string_view name, std::uint64_t number);

  /// That name's number; nullptr when it is not there. Valid until the next change.
  [[nodiscard]] const std::uint64_t* find(std::string_view name) const;
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::size_t name_bytes() const;
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
  /// One of notes_, which begins there and is followed by the name.
  struct Note {
    std::uint64_t number;
    std::size_t length;
  };
  /// Eight bytes of a note's name, from somewhere in it.
  struct SortKey {
    std::uint64_t bytes;
    std::size_t note;  ///< where it begins
  };

  [[nodiscard]] std::string_view name_at(std::size_t index) const;
  [[nodiscard]] Note note_at(std::size_t note) const;
  [[nodiscard]] std::string_view noted_name(std::size_t note) const;
  /// The first of flat_ whose name is not below `name`.
  [[nodiscard]] std::size_t lower_bound(std::string_view name) const;
  [[nodiscard]] std::uint64_t* settled(std::string_view name) const;
  void settle() const;
  void sort(SortKey* begin, SortKey* end, std::size_t from) const;
  [[nodiscard]] std::vector<SortKey> sorted_notes() const;
  void merge() const;

  mutable std::string names_;
  mutable std::vector<Flat> flat_;
  mutable std::map<std::string, std::uint64_t, std::less<>> added_;
  mutable std::string notes_;  ///< what set() was told, in its order
  mutable std::size_t notes_count_ = 0;
  mutable std::size_t name_bytes_ = 0;
};

template <class Code>
void Counters::visit(std::string_view after, Code&& code) const {
  settle();
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
