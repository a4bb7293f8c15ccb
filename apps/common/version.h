// What this program was built from.
#pragma once

namespace qpip::apps {

/// "0.1.0"
const char* Version();
/// The commit of the sources, "-dirty" behind it when they had changes; "" outside of a checkout.
const char* Commit();

}  // namespace qpip::apps
