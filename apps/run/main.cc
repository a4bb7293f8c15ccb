// qpip-run: a program that was built against libibverbs or librdmacm, or that uses sockets, on
// QPIP. Sets environment variables and nothing else.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "apps/common/command_line.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr char kName[] = "qpip-run";

CommandLine MakeCommandLine() {
  CommandLine command_line(
      {.name = kName,
       .summary =
           "runs a program that uses libibverbs, librdmacm or sockets, on queue pairs of QPIP",
       .usage =
           "  qpip-run [--nic URI]... [--personality roce|iwarp] [--] PROGRAM [ARGUMENTS]\n"
           "  qpip-run --sockets --nic URI [--prefix PREFIX]... [--any nic|kernel] [--] PROGRAM "
           "[ARGUMENTS]\n",
       .notes =
           "The program finds libibverbs.so.1 and librdmacm.so.1 of QPIP before the system's\n"
           "(LD_LIBRARY_PATH), and by them a device for each NIC (QPIP_NIC): qpip0, qpip1, ...\n"
           "Programs that look for /dev/infiniband/uverbs0 see one (LD_PRELOAD).\n"
           "A URI without an address leaves that to the program: librdmacm's opens the NIC with\n"
           "the address that it binds to, any other gets one out of 127.64.0.0/10. An IPv4\n"
           "address a.b.c.d is the NIC's ::ffff:a.b.c.d.\n"
           "With --personality roce programs may exchange queue pair numbers and GIDs by\n"
           "themselves; with iwarp they connect by librdmacm, and with any iWARP peer.\n"
           "docs/verbs.md says what works with which program.\n"
           "With --sockets the program's TCP sockets whose addresses lie in a prefix become queue\n"
           "pairs (LD_PRELOAD, QPIP_SOCKETS); all others stay the kernel's. Without --prefix that\n"
           "is the /64 around the NIC's address, or the /24 around an IPv4 one. A URI without an\n"
           "address takes one out of the first prefix. docs/sockets.md says the rest.\n",
       .examples =
           "  qpip-run ibv_devinfo\n"
           "  qpip-run ib_write_bw &\n"
           "  qpip-run ib_write_bw localhost\n"
           "  qpip-run -- rping -s -a 127.0.0.5 -C 10 &\n"
           "  qpip-run -- rping -c -a 127.0.0.5 -C 10 -v\n"
           "  qpip-run --nic 'shm:lab?loss=0.01&seed=7' -- ibv_rc_pingpong -g 0\n"
           "  qpip-run --sockets --nic 'shm:lab?address=fd00::1' redis-server --bind fd00::1\n"
           "  qpip-run --sockets --nic 'shm:lab?address=fd00::2' redis-cli -h fd00::1\n"});
  command_line.Options().add_options()("nic",
                                       po::value<std::vector<std::string>>()->value_name("URI"),
                                       "a NIC (default: $QPIP_NIC, or shm:verbs); may be repeated")(
      "personality", po::value<std::string>()->value_name("NAME"),
      "roce or iwarp (default: $QPIP_PERSONALITY, or roce)")(
      "sockets", "the program's sockets, instead of libibverbs")(
      "prefix", po::value<std::vector<std::string>>()->value_name("PREFIX"),
      "addresses that are reached through the NIC: fd00::/64, 10.0.0.0/24; may be repeated")(
      "any", po::value<std::string>()->value_name("WHOSE"),
      "nic or kernel: who has sockets bound to the unspecified address (default: nic)");
  return command_line;
}

/// Where the program's own words begin: behind "--", or at the first that is no option of ours.
int FindProgram(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--") return i + 1;
    if (!word.starts_with('-')) return i;
    if (word == "--nic" || word == "--personality" || word == "--prefix" || word == "--any") ++i;
  }
  return argc;
}

/// A library's file, in the directory beside this command's. `without`: what is to be done when
/// there is none.
fs::path FindLibrary(const fs::path& name, const std::string& without) {
  const fs::path bin = fs::read_symlink("/proc/self/exe").parent_path();
  for (const char* lib : {"lib", QPIP_LIBRARY_DIRECTORY}) {
    fs::path file = bin.parent_path() / lib / "qpip" / name;
    if (fs::exists(file)) return file;
  }
  throw Failure(name.filename().string() + ": not in lib/" +
                (fs::path("qpip") / name).parent_path().string() + " beside " + bin.string() +
                ": " + without);
}

void Prepend(const char* variable, const std::string& value, char separator) {
  const char* before = std::getenv(variable);
  const bool any = before != nullptr && *before != '\0';
  setenv(variable, (any ? value + separator + before : value).c_str(), /*overwrite=*/1);
}

void SetSockets(const CommandLine& command_line) {
  const std::vector<std::string> nics =
      command_line.Has("nic") ? command_line.Strings("nic") : std::vector<std::string>();
  if (nics.size() != 1 || command_line.Has("personality")) {
    throw UsageError("--sockets: needs one --nic URI, and no --personality");
  }
  Prepend("LD_PRELOAD", FindLibrary("libqpip-preload.so", "build or install QPIP there").string(),
          ':');
  setenv("QPIP_SOCKETS", nics[0].c_str(), /*overwrite=*/1);
  if (command_line.Has("prefix")) {
    std::string all;
    for (const std::string& prefix : command_line.Strings("prefix")) {
      all += (all.empty() ? "" : ",") + prefix;
    }
    setenv("QPIP_SOCKETS_PREFIX", all.c_str(), /*overwrite=*/1);
  }
  if (command_line.Has("any")) {
    setenv("QPIP_SOCKETS_ANY", command_line.String("any").c_str(), /*overwrite=*/1);
  }
}

void SetEnvironment(const CommandLine& command_line) {
  if (command_line.Has("sockets")) return SetSockets(command_line);
  if (command_line.Has("prefix") || command_line.Has("any")) {
    throw UsageError("--prefix and --any: go with --sockets");
  }
  const fs::path library =
      FindLibrary("verbs/libibverbs.so.1", "build or install QPIP with librdmacm-dev there");
  Prepend("LD_LIBRARY_PATH", library.parent_path().string(), ':');
  // UCX wants to see the devices' files, librspreload.so lacks accept4.
  const fs::path files = library.parent_path() / "libqpip-verbs-preload.so";
  if (fs::exists(files)) Prepend("LD_PRELOAD", files.string(), ':');
  if (command_line.Has("nic")) {
    std::string all;
    for (const std::string& uri : command_line.Strings("nic")) {
      if (uri.find_first_of(" \t\n") != std::string::npos) {
        throw UsageError("--nic '" + uri + "': has white space; write it as %20");
      }
      all += (all.empty() ? "" : " ") + uri;
    }
    setenv("QPIP_NIC", all.c_str(), /*overwrite=*/1);
  }
  if (command_line.Has("personality")) {
    const std::string name = command_line.String("personality");
    if (name != "roce" && name != "iwarp") {
      throw UsageError("--personality " + name + ": must be roce or iwarp");
    }
    setenv("QPIP_PERSONALITY", name.c_str(), /*overwrite=*/1);
  }
}

int Run(int argc, char** argv) {
  const int program = FindProgram(argc, argv);
  CommandLine command_line = MakeCommandLine();
  const int own =
      program <= argc && std::string_view(argv[program - 1]) == "--" ? program - 1 : program;
  if (!command_line.Parse(own, argv)) return kExitOk;
  if (program >= argc) throw UsageError("no program: name it behind the options");
  SetEnvironment(command_line);
  execvp(argv[program], &argv[program]);
  throw Failure(std::string(argv[program]) + ": cannot be run: " + std::strerror(errno));
}

}  // namespace
}  // namespace qpip::apps

int main(int argc, char** argv) {
  return qpip::apps::RunCommand(qpip::apps::kName, [&] { return qpip::apps::Run(argc, argv); });
}
