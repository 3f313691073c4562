// outcome: what a Deferred comes to, with the loop turning meanwhile.
#pragma once

#include <doctest/doctest.h>

#include <utility>

#include "services/net/deferred.hpp"
#include "tests/services/net/fixture.hpp"

namespace tap::tests {

/// What becomes of it; the loop turns meanwhile.
template <class T>
Result<T> outcome(Loop& loop, net::Deferred<T> of) {
  REQUIRE(loop.turn_until([&] { return of.done(); }));
  return of.take();
}

}  // namespace tap::tests
