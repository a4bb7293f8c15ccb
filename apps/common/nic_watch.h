// The command's NIC, and what befalls it while the command works.
#pragma once

#include <functional>
#include <string>

#include "apps/common/nic_options.h"
#include "apps/common/stop.h"
#include "qpip/qpip.h"

namespace qpip::apps {

/// Opens a NIC and runs the command's body on it. When the NIC has ended (its device is gone),
/// `stop` is requested, and what ended it becomes the Failure that is thrown, whatever the body
/// says. What the NIC could not do otherwise is a line on stderr: at once; what concerns one peer
/// of a client only behind a failure that does not say it. `name` is the command's; `stop` must
/// outlive the call. Throws what Nic::Open and the body throw.
int WithNic(const std::string& name, const std::string& uri, NicRole role, StopToken& stop,
            const std::function<int(Nic&)>& body);

}  // namespace qpip::apps
