// Whether a call that a signal has interrupted goes on.
#pragma once

namespace qpip::preload {

/// Whether all signal handlers of the process were installed with SA_RESTART. A call cannot know
/// which of them has run: where one asks for EINTR, all get it.
bool HandlersRestart();

}  // namespace qpip::preload
