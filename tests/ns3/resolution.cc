// ns-3 lets a process choose its resolution once, before it simulates anything: a World does, and
// these tests simulate without one as well.
#include <gtest/gtest.h>
#include <ns3/nstime.h>

namespace qpip::sim {
namespace {

class Picoseconds : public testing::Environment {
  void SetUp() override { ns3::Time::SetResolution(ns3::Time::PS); }
};

const testing::Environment* const environment = testing::AddGlobalTestEnvironment(new Picoseconds);

}  // namespace
}  // namespace qpip::sim
