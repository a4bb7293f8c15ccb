#include "sim/ns3/world/stop.h"

#include <utility>

namespace qpip::sim {
namespace {

StopQuery stop_query = nullptr;

}  // namespace

StopQuery SetStopQuery(StopQuery query) { return std::exchange(stop_query, query); }

bool StopRequested() { return stop_query != nullptr && stop_query(); }

}  // namespace qpip::sim
