#include "services/work_thread.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <tuple>
#include <vector>

using tap::services::WorkThread;

TEST_CASE("work thread: does one after the other, what is left too when it ends") {
  std::vector<int> done;
  {
    WorkThread thread;
    for (int i = 0; i < 100; ++i) thread.run([&done, i] { done.push_back(i); });
  }
  CHECK(done.size() == 100);
  CHECK(std::is_sorted(done.begin(), done.end()));
}

TEST_CASE("work thread: what is for later steps back, and whoever ordered it keeps its rank") {
  const int ours = ::getpriority(PRIO_PROCESS, 0);
  for (const auto& [urgency, nicer, policy] : {std::tuple{WorkThread::Urgency::now, 0, SCHED_OTHER},
                                               std::tuple{WorkThread::Urgency::later, 10, SCHED_BATCH}}) {
    WorkThread thread(urgency);
    int nice = -100;
    int scheduled = -1;
    thread.run([&] {
      nice = ::getpriority(PRIO_PROCESS, 0);
      scheduled = ::sched_getscheduler(0);
    });
    thread.wait_idle();
    CHECK(nice == std::min(ours + nicer, 19));
    CHECK(scheduled == policy);
  }
  CHECK(::getpriority(PRIO_PROCESS, 0) == ours);
  CHECK(::sched_getscheduler(0) == SCHED_OTHER);
}
