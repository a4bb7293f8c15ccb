// Where a sweep keeps what it has: plan.json, and for every point points/NNNNNN.json, or
// NNNNNN.failed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/sim/sweep.h"

namespace qpip::apps {

/// A lock on a directory, of this process; nobody else's sweep runs in it meanwhile.
class DirectoryLock {
 public:
  /// Throws Failure when another process has it. A file system without locks gives none.
  explicit DirectoryLock(const std::string& directory);
  ~DirectoryLock() { Release(); }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  /// In a child process: the lock is its parent's, and must not outlive it.
  void Release();

 private:
  int fd_;
};

/// DIR/points/NNNNNN.json: what one point gave. It is there whole or not at all.
std::filesystem::path PointFile(const std::string& directory, uint64_t point);

/// In the place of a result: why there is none.
std::filesystem::path FailedFile(const std::string& directory, uint64_t point);

/// Makes the directory this shard's of this sweep, or finds that it is. A plan that has brought
/// nothing yet makes room for another. Throws UsageError when the directory is another's.
void ClaimDirectory(const SweepPlan& plan, const Shard& shard, const std::string& directory);

/// A directory that a sweep has claimed.
struct ClaimedDirectory {
  std::string path;
  SweepPlan plan;
  Shard shard;
};
/// Throws UsageError when there is no sweep in it, Failure when its plan cannot be read.
ClaimedDirectory ReadDirectory(const std::string& path);

/// The results of a shard's points, in order: axes, metrics and what ResultJson has besides,
/// without details; or "error". Throws Failure when one is missing.
nlohmann::json CollectSweep(const SweepPlan& plan, const Shard& shard,
                            const std::string& directory);

/// Makes `directory` what one run of the whole sweep would have made it, byte for byte, from the
/// points of `sources`: whole sweeps and shards of any number, all of one plan. A point that failed
/// everywhere stays a failed one. Throws Failure that
/// names the points that nobody has, and those of which two sources have different results;
/// UsageError when the sources are not of one sweep, or `directory` is another's.
void MergeSweeps(const std::vector<ClaimedDirectory>& sources, const std::string& directory);

}  // namespace qpip::apps
