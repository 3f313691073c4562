#include "services/standard_kinds.hpp"

#include "services/echo/echo.hpp"
#include "services/fibonacci/fibonacci.hpp"
#include "services/onetimekey/onetimekey.hpp"
#include "services/poetry/poetry.hpp"
#include "services/poetry/proxy.hpp"
#include "services/poetry/transform.hpp"
#include "services/rfc/chargen.hpp"
#include "services/rfc/clocks.hpp"
#include "services/rfc/discard.hpp"
#include "services/sequence/sequence.hpp"

namespace tap::services {

Registry standard_kinds() {
  return Registry({chargen_kind(), daytime_kind(), discard_kind(), echo_kind(), fibonacci_kind(), onetimekey_kind(),
                   poetry_kind(), poetry_proxy_kind(), poetry_transform_kind(), sequence_kind(), time_kind(),
                   time868_kind()});
}

}  // namespace tap::services
