// The firmware as an image for a bare 32-bit core: entry, imports, and the LANai profile.
//
// The image is the whole NIC program. Its imports (platform.h) are environment calls: the number in
// a7, the arguments where the C calling convention has put them, the answer in a0 (and a1). What
// stands around the core, an instruction-set simulator or a board's monitor, carries them out.
// Started, the image reports how the profile uses the SRAM, formats its arena there, steps until
// the firmware has nothing to do, and stops (tools/build-rv32i runs exactly this).
#include <cstdint>
#include <type_traits>

#include "nic_fw/firmware.h"
#include "nic_fw/image/imports.h"
#include "nic_fw/image/lanai_profile.h"

namespace qpip::fw {

extern "C" {
#define QPIP_DECLARE_IMPORT(name, number) \
  std::remove_pointer_t<decltype(Platform::name)> qpip_import_##name;
QPIP_IMAGE_IMPORTS(QPIP_DECLARE_IMPORT)
#undef QPIP_DECLARE_IMPORT

/// Beyond the imports: a named number for the report, and the end of the run.
void qpip_monitor_report(const char* name, uint32_t value);
[[noreturn]] void qpip_monitor_exit(uint32_t status);

// From the linker script.
extern uint8_t stack_top[];
extern uint8_t arena_start[];
extern uint8_t arena_end[];

[[noreturn]] void qpip_image_main();
}

#define QPIP_DEFINE_CALL(symbol, number)                                                           \
  asm(".pushsection .text." #symbol ",\"ax\"\n.globl " #symbol "\n" #symbol ":\n  li a7, " #number \
      "\n  ecall\n  ret\n.popsection");
#define QPIP_DEFINE_IMPORT(name, number) QPIP_DEFINE_CALL(qpip_import_##name, number)
QPIP_IMAGE_IMPORTS(QPIP_DEFINE_IMPORT)
QPIP_DEFINE_CALL(qpip_monitor_report, 64)
QPIP_DEFINE_CALL(qpip_monitor_exit, 65)
#undef QPIP_DEFINE_IMPORT
#undef QPIP_DEFINE_CALL

asm(".pushsection .text.start,\"ax\"\n"
    ".globl _start\n"
    "_start:\n"
    "  la sp, stack_top\n"
    "  j qpip_image_main\n"
    ".popsection");

/// For whoever calls the firmware's functions in the image itself, instead of starting it: the
/// table that they take, and what says that both mean the same by a configuration.
extern "C" {
extern const Platform qpip_image_platform;
extern const uint32_t qpip_image_config_bytes;
}

namespace {

static_assert(LanaiProfile().mtu == 16456, "image.ld reserves this for each packet buffer");

constexpr Platform MakePlatform() {
  Platform platform;
#define QPIP_SET_IMPORT(name, number) platform.name = qpip_import_##name;
  QPIP_IMAGE_IMPORTS(QPIP_SET_IMPORT)
#undef QPIP_SET_IMPORT
  return platform;
}
#define QPIP_COUNT_IMPORT(name, number) +1
static_assert(sizeof(Platform) == (2 + QPIP_IMAGE_IMPORTS(QPIP_COUNT_IMPORT)) * sizeof(void*),
              "an import of platform.h is missing from QPIP_IMAGE_IMPORTS");
#undef QPIP_COUNT_IMPORT

/// What RDMA takes of the SRAM, of which the profile has none: for each such queue pair, once, and
/// how many there is room for.
void ReportRdma(NicConfig config, uint32_t room) {
  ArenaBytes bytes;
  config.max_rdma_qps = 1;
  qpip_fw_arena(&config, &bytes);
  const uint32_t first = bytes.rdma;
  config.max_rdma_qps = 2;
  qpip_fw_arena(&config, &bytes);
  const uint32_t each = bytes.rdma - first;
  uint32_t fit = 0;
  for (config.max_rdma_qps = 1; config.max_rdma_qps <= config.max_qps; ++config.max_rdma_qps) {
    if (qpip_fw_arena(&config, &bytes) == 0 || bytes.total > room) break;
    fit = config.max_rdma_qps;
  }
  qpip_monitor_report("rdma_per_qp", each);
  qpip_monitor_report("rdma_once", first - each);
  qpip_monitor_report("rdma_qps_that_fit", fit);
}

void ReportArena(const ArenaBytes& bytes) {
  for (const ArenaPart& part : kArenaParts) qpip_monitor_report(part.name, bytes.*part.bytes);
}

}  // namespace

extern "C" {
[[gnu::used]] constinit const Platform qpip_image_platform = MakePlatform();
[[gnu::used]] constinit const uint32_t qpip_image_config_bytes = sizeof(NicConfig);
}

/// Exit status: 0; 1 the configuration was refused; 2 the arena does not fit; 3 init refused it.
extern "C" [[noreturn]] void qpip_image_main() {
  const NicConfig config = LanaiProfile();
  ArenaBytes bytes;
  if (qpip_fw_arena(&config, &bytes) == 0) qpip_monitor_exit(1);
  ReportArena(bytes);
  ReportRdma(config, static_cast<uint32_t>(arena_end - arena_start));
  qpip_monitor_report("max_qps", config.max_qps);
  qpip_monitor_report("code_and_stack",
                      static_cast<uint32_t>(reinterpret_cast<uintptr_t>(stack_top)));
  qpip_monitor_report("packet_buffers", kLanaiPacketBuffers * config.mtu);
  qpip_monitor_report("arena_room", static_cast<uint32_t>(arena_end - arena_start));
  if (bytes.total > static_cast<uint32_t>(arena_end - arena_start)) qpip_monitor_exit(2);

  const Platform platform = MakePlatform();
  uint64_t now_ns = 0;
  if (qpip_fw_init(arena_start, bytes.total, &config, &platform, now_ns) == 0) qpip_monitor_exit(3);
  uint32_t steps = 0;
  while (qpip_fw_step(arena_start, &platform, now_ns, 16) != 0) ++steps;
  qpip_monitor_report("steps_until_idle", steps);
  qpip_monitor_report("notifications", static_cast<uint32_t>(qpip_fw_notifications(arena_start)));
  qpip_monitor_report("deadline_is_never",
                      qpip_fw_next_deadline(arena_start) == ~uint64_t{0} ? 1 : 0);
  qpip_monitor_exit(0);
}

}  // namespace qpip::fw
