#include "services/sequence/counters.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "state/base/assert.hpp"

namespace tap::services {
namespace {

/// More notes than this are merged although nobody asks; or than half of what is there, so that each merge copies
/// little more than it adds.
constexpr std::size_t kNotesMax = std::size_t{1} << 20U;

/// Eight bytes of `name` that compare as they do, zeros after its end.
std::uint64_t bytes_at(std::string_view name, std::size_t from) {
  std::uint64_t bytes = 0;
  const std::size_t count = std::min(sizeof bytes, name.size() - std::min(from, name.size()));
  if (count != 0) std::memcpy(&bytes, name.data() + from, count);
  return std::endian::native == std::endian::little ? __builtin_bswap64(bytes) : bytes;
}

}  // namespace

std::string_view Counters::name_at(std::size_t index) const {
  const std::size_t begin = flat_[index].name;
  const std::size_t end = index + 1 < flat_.size() ? flat_[index + 1].name : names_.size();
  return std::string_view(names_).substr(begin, end - begin);
}

Counters::Note Counters::note_at(std::size_t note) const {
  Note read;
  std::memcpy(&read, notes_.data() + note, sizeof read);
  return read;
}

std::string_view Counters::noted_name(std::size_t note) const {
  return std::string_view(notes_).substr(note + sizeof(Note), note_at(note).length);
}

std::size_t Counters::lower_bound(std::string_view name) const {
  std::size_t begin = 0;
  std::size_t end = flat_.size();
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    if (name_at(middle) < name) begin = middle + 1;
    else end = middle;
  }
  return begin;
}

void Counters::reserve(std::size_t names, std::size_t bytes) {
  flat_.reserve(names);
  names_.reserve(bytes);
}

void Counters::append(std::string_view name, std::uint64_t number) {
  TAP_ASSERT(added_.empty() && notes_count_ == 0 && (flat_.empty() || last() < name));
  flat_.push_back({names_.size(), number});
  names_.append(name);
  name_bytes_ += name.size();
}

std::uint64_t* Counters::settled(std::string_view name) const {
  const std::size_t flat = lower_bound(name);
  if (flat < flat_.size() && name_at(flat) == name) return &flat_[flat].number;
  const auto added = added_.find(name);
  return added == added_.end() ? nullptr : &added->second;
}

void Counters::set(std::string_view name, std::uint64_t number) {
  if (notes_count_ == 0) {
    if (std::uint64_t* here = settled(name)) {
      *here = number;
      return;
    }
  }
  const Note note{number, name.size()};
  notes_.append(reinterpret_cast<const char*>(&note), sizeof note);
  notes_.append(name);
  // Where there are many there are more: room for the most, of which only what is written takes memory.
  if (++notes_count_ == kMergeFrom) notes_.reserve(notes_.size() / kMergeFrom * (kNotesMax + kNotesMax / 8));
  if (notes_count_ >= std::max(kNotesMax, flat_.size() / 2)) settle();
}

const std::uint64_t* Counters::find(std::string_view name) const {
  settle();
  return settled(name);
}

std::size_t Counters::size() const {
  settle();
  return flat_.size() + added_.size();
}

std::size_t Counters::name_bytes() const {
  settle();
  return name_bytes_;
}

void Counters::settle() const {
  if (notes_count_ == 0) return;
  if (notes_count_ >= kMergeFrom) {
    merge();
    return;
  }
  for (std::size_t at = 0; at < notes_.size();) {
    const Note note = note_at(at);
    const std::string_view name = noted_name(at);
    if (std::uint64_t* here = settled(name)) {
      *here = note.number;
    } else {
      added_.emplace(name, note.number);
      name_bytes_ += name.size();
    }
    at += sizeof note + note.length;
  }
  notes_.clear();
  notes_count_ = 0;
}

/// By name, and notes of one name as they were written. The names agree in what is before `from`: eight bytes at a time
/// are compared as numbers, and only where all of them are the same the next eight are looked at. (Radix sort for
/// strings with caching: Ng and Kakehi, "Cache Efficient Radix Sort for String Sorting", 2007.)
void Counters::sort(SortKey* begin, SortKey* end, std::size_t from) const {
  bool same = true;
  for (SortKey* key = begin; key != end; ++key) {
    key->bytes = bytes_at(noted_name(key->note), from);
    same = same && key->bytes == begin->bytes;
  }
  if (!same) {
    std::sort(begin, end, [](const SortKey& left, const SortKey& right) {
      return left.bytes != right.bytes ? left.bytes < right.bytes : left.note < right.note;
    });
  }
  while (begin != end) {
    SortKey* const run = std::find_if(begin, end, [&](const SortKey& key) { return key.bytes != begin->bytes; });
    const bool ends = (begin->bytes & 0xFFU) == 0;  // the names do: they are one
    if (run - begin > 1 && !ends) sort(begin, run, from + sizeof(std::uint64_t));
    begin = run;
  }
}

std::vector<Counters::SortKey> Counters::sorted_notes() const {
  std::vector<SortKey> keys;
  keys.reserve(notes_count_);
  for (std::size_t at = 0; at < notes_.size(); at += sizeof(Note) + note_at(at).length) keys.push_back({0, at});
  sort(keys.data(), keys.data() + keys.size(), 0);
  return keys;
}

/// Everything becomes flat.
void Counters::merge() const {
  const std::vector<SortKey> keys = sorted_notes();
  notes_count_ = 0;  // they are all in `keys`: what follows looks at the rest
  Counters all;
  all.reserve(flat_.size() + added_.size() + keys.size(), name_bytes_ + notes_.size() - keys.size() * sizeof(Note));
  auto key = keys.begin();
  // The last note of the name that `key` has. Of one name all keys have the same bytes, so that few names are compared.
  const auto take_note = [&](std::string_view name) {
    while (key + 1 != keys.end() && (key + 1)->bytes == key->bytes && noted_name((key + 1)->note) == name) ++key;
    return note_at((key++)->note).number;
  };
  const auto append_notes = [&](const std::string_view* before) {
    while (key != keys.end()) {
      const std::string_view name = noted_name(key->note);
      if (before != nullptr && name >= *before) return;
      const std::uint64_t number = take_note(name);
      all.append(name, number);
    }
  };
  visit({}, [&](std::string_view name, std::uint64_t number) {
    append_notes(&name);
    const bool is_noted = key != keys.end() && noted_name(key->note) == name;
    all.append(name, is_noted ? take_note(name) : number);
    return true;
  });
  append_notes(nullptr);
  names_ = std::move(all.names_);
  flat_ = std::move(all.flat_);
  name_bytes_ = all.name_bytes_;
  added_.clear();
  notes_ = {};
}

}  // namespace tap::services
