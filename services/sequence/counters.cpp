#include "services/sequence/counters.hpp"

#include "state/base/assert.hpp"

namespace tap::services {

std::string_view Counters::name_at(std::size_t index) const {
  const std::size_t begin = flat_[index].name;
  const std::size_t end = index + 1 < flat_.size() ? flat_[index + 1].name : names_.size();
  return std::string_view(names_).substr(begin, end - begin);
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
  TAP_ASSERT(added_.empty() && (flat_.empty() || last() < name));
  flat_.push_back({names_.size(), number});
  names_.append(name);
  name_bytes_ += name.size();
}

void Counters::set(std::string_view name, std::uint64_t number) {
  const std::size_t flat = lower_bound(name);
  if (flat < flat_.size() && name_at(flat) == name) {
    flat_[flat].number = number;
    return;
  }
  const auto added = added_.lower_bound(name);
  if (added != added_.end() && added->first == name) {
    added->second = number;
    return;
  }
  added_.emplace_hint(added, name, number);
  name_bytes_ += name.size();
}

const std::uint64_t* Counters::find(std::string_view name) const {
  const std::size_t flat = lower_bound(name);
  if (flat < flat_.size() && name_at(flat) == name) return &flat_[flat].number;
  const auto added = added_.find(name);
  return added == added_.end() ? nullptr : &added->second;
}

}  // namespace tap::services
