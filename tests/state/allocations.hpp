// What is asked of the heap while an object lives: shows that hostile input costs no more memory than its size allows.
#pragma once

#include <cstddef>

namespace tap::tests {

/// Counts what is asked of operator new (allocations.cpp replaces it for the whole test program) since it was made.
/// Thread: one watch at a time; counts every thread.
class AllocationWatch {
 public:
  AllocationWatch();
  /// The largest single request in bytes, refused ones included.
  [[nodiscard]] std::size_t largest() const;
  /// The sum of all requests in bytes, given back or not.
  [[nodiscard]] std::size_t total() const;
};

}  // namespace tap::tests
