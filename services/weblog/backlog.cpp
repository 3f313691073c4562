#include "services/weblog/backlog.hpp"

#include <algorithm>
#include <utility>

#include "state/base/assert.hpp"

namespace tap::services::weblog {

void Backlog::start(std::uint64_t next) {
  batches_.clear();
  begin_ = end_ = next;
  bytes_ = 0;
}

void Backlog::append(std::string xml, std::vector<std::uint32_t> ends) {
  if (ends.empty()) return;
  TAP_ASSERT(ends.back() == xml.size());
  xml.shrink_to_fit();
  bytes_ += xml.size();
  const std::uint64_t first = end_;
  end_ += ends.size();
  batches_.push_back({first, std::move(xml), std::move(ends)});
}

void Backlog::trim(std::uint64_t number, std::uint64_t kept, std::size_t bytes_max) {
  while (!batches_.empty()) {
    const Batch& oldest = batches_.front();
    const std::uint64_t after = oldest.first + oldest.ends.size();
    if (after > number && (after > kept || bytes_ <= bytes_max)) break;
    bytes_ -= oldest.xml.size();
    begin_ = after;
    batches_.pop_front();
  }
}

std::string_view Backlog::read(std::uint64_t& number, std::size_t bytes_max) const {
  TAP_ASSERT(number >= begin_ && number < end_);
  const auto after = std::upper_bound(batches_.begin(), batches_.end(), number,
                                      [](std::uint64_t wanted, const Batch& batch) { return wanted < batch.first; });
  const Batch& batch = *std::prev(after);
  const auto first = static_cast<std::ptrdiff_t>(number - batch.first);
  const std::size_t from = first == 0 ? 0 : batch.ends[static_cast<std::size_t>(first) - 1];
  // The first hit that ends too far away; one goes out in any case.
  const auto stop = std::upper_bound(batch.ends.begin() + first + 1, batch.ends.end(), from + bytes_max,
                                     [](std::size_t far, std::uint32_t end) { return far < end; });
  number = batch.first + static_cast<std::uint64_t>(stop - batch.ends.begin());
  return std::string_view(batch.xml).substr(from, *std::prev(stop) - from);
}

}  // namespace tap::services::weblog
