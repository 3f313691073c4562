#include "tests/state/allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> g_largest{0};
std::atomic<std::size_t> g_total{0};
/// Nothing here needs as much; a sanitizer's allocator would abort instead of saying no.
constexpr std::size_t kRequestBytesMax = std::size_t{1} << 32U;

}  // namespace

void* operator new(std::size_t bytes) {
  g_total += bytes;
  std::size_t seen = g_largest.load();
  while (bytes > seen && !g_largest.compare_exchange_weak(seen, bytes)) continue;
  void* memory = bytes <= kRequestBytesMax ? std::malloc(bytes == 0 ? 1 : bytes) : nullptr;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new[](std::size_t bytes) { return ::operator new(bytes); }
// std::stable_sort's; a sanitizer's own would not go with our delete.
void* operator new(std::size_t bytes, const std::nothrow_t& /*nothrow*/) noexcept {
  g_total += bytes;
  return std::malloc(bytes == 0 ? 1 : bytes);
}
void* operator new[](std::size_t bytes, const std::nothrow_t& nothrow) noexcept {
  return ::operator new(bytes, nothrow);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*bytes*/) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t /*bytes*/) noexcept { std::free(memory); }

namespace tap::tests {

AllocationWatch::AllocationWatch() {
  g_largest = 0;
  g_total = 0;
}

std::size_t AllocationWatch::largest() const { return g_largest; }

std::size_t AllocationWatch::total() const { return g_total; }

}  // namespace tap::tests
