// The host libstdc++'s headers ask glibc for its version; there is no glibc on the NIC.
#pragma once
#define __GLIBC_PREREQ(major, minor) 0
