// The subcommands of qpip-sim, one source each. Each takes the arguments behind its name and
// returns the exit status; errors are thrown (apps/common/command_line.h).
#pragma once

namespace qpip::apps {

int SimRun(int argc, const char* const* argv);        ///< run_command.cc: one scenario, once
int SimList(int argc, const char* const* argv);       ///< list_command.cc: what there is
int SimSweep(int argc, const char* const* argv);      ///< sweep_command.cc: many runs
int SimMerge(int argc, const char* const* argv);      ///< merge_command.cc: a sweep's shards
int SimShow(int argc, const char* const* argv);       ///< show_command.cc: a profile, every number
int SimOccupancy(int argc, const char* const* argv);  ///< occupancy_command.cc: who was busy
int SimPaper(int argc, const char* const* argv);      ///< paper_command.cc: the paper's figures

}  // namespace qpip::apps
