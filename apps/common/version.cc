#include "apps/common/version.h"

#include "commit.h"

namespace qpip::apps {

const char* Version() { return QPIP_VERSION; }
const char* Commit() { return QPIP_COMMIT; }

}  // namespace qpip::apps
