#include "services/standard_kinds.hpp"

#include "services/echo/echo.hpp"
#include "services/fibonacci/fibonacci.hpp"
#include "services/onetimekey/onetimekey.hpp"
#include "services/sequence/sequence.hpp"

namespace tap::services {

Registry standard_kinds() { return Registry({echo_kind(), fibonacci_kind(), onetimekey_kind(), sequence_kind()}); }

}  // namespace tap::services
