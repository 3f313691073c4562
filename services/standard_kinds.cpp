#include "services/standard_kinds.hpp"

#include "services/echo/echo.hpp"
#include "services/fibonacci/fibonacci.hpp"

namespace tap::services {

Registry standard_kinds() { return Registry({echo_kind(), fibonacci_kind()}); }

}  // namespace tap::services
