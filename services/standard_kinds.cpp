#include "services/standard_kinds.hpp"

#include "services/echo/echo.hpp"
#include "services/fibonacci/fibonacci.hpp"
#include "services/files/files.hpp"
#include "services/filter_proxy/filter_proxy.hpp"
#include "services/mailwatch/mailwatch.hpp"
#include "services/onetimekey/onetimekey.hpp"
#include "services/poetry/poetry.hpp"
#include "services/poetry/proxy.hpp"
#include "services/poetry/transform.hpp"
#include "services/portforward/portforward.hpp"
#include "services/rfc/chargen.hpp"
#include "services/rfc/clocks.hpp"
#include "services/rfc/discard.hpp"
#include "services/sequence/sequence.hpp"
#include "services/weblog/weblog.hpp"

namespace tap::services {

Registry standard_kinds() {
  return Registry({chargen_kind(), daytime_kind(), discard_kind(), echo_kind(), fibonacci_kind(), files_kind(),
                   filter_proxy_kind(), mailwatch_kind(), onetimekey_kind(), poetry_kind(), poetry_proxy_kind(),
                   poetry_transform_kind(), portforward_kind(), sequence_kind(), time_kind(), time868_kind(),
                   weblog_kind()});
}

}  // namespace tap::services
