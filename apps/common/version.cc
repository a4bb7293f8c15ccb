#include "apps/common/version.h"

#include <qpip_commit.h>  // made by cmake/QpipCommit.cmake

namespace qpip::apps {

const char* Version() { return QPIP_VERSION; }
const char* Commit() { return QPIP_COMMIT; }

}  // namespace qpip::apps
