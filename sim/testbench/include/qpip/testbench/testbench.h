// Everything of the virtual-time test bench. docs/testbench.md is the way in.
#pragma once

#include "qpip/testbench/bench.h"
#include "qpip/testbench/packet.h"
#include "qpip/testbench/peer.h"
