// The image as a file: a 32-bit RISC-V ELF, its segments and its symbols (System V ABI, chapter 4).
#include <elf.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>

#include "sim/ns3/image/firmware_run.h"

namespace qpip::sim {
namespace {

std::string& SharedFile() {
  static std::string file;
  return file;
}

/// A structure of the file, or an error when it does not lie in it.
template <typename T>
T ReadAt(const std::string& bytes, uint64_t offset, const std::string& file) {
  T out;
  if (offset + sizeof(T) > bytes.size()) {
    throw std::runtime_error(file + " is cut short: build it again with tools/build-rv32i");
  }
  std::memcpy(&out, bytes.data() + offset, sizeof(T));
  return out;
}

}  // namespace

struct FirmwareImage::Symbols {
  std::map<std::string, uint32_t> addresses;
};

FirmwareImage::FirmwareImage(const std::string& file) : file_(file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    throw std::runtime_error("cannot read the firmware's image " + file + ": " +
                             std::strerror(errno) +
                             "; tools/build-rv32i makes it, --firmware-image names another place");
  }
  bytes_ = text.str();
  const auto header = ReadAt<Elf32_Ehdr>(bytes_, 0, file_);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS32 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_RISCV) {
    throw std::runtime_error(file + " is no 32-bit RISC-V ELF file");
  }
  auto symbols = std::make_shared<Symbols>();
  for (uint32_t i = 0; i < header.e_shnum; ++i) {
    const auto table =
        ReadAt<Elf32_Shdr>(bytes_, header.e_shoff + uint64_t{i} * sizeof(Elf32_Shdr), file_);
    if (table.sh_type != SHT_SYMTAB) continue;
    const auto names = ReadAt<Elf32_Shdr>(
        bytes_, header.e_shoff + uint64_t{table.sh_link} * sizeof(Elf32_Shdr), file_);
    for (uint64_t at = 0; at + sizeof(Elf32_Sym) <= table.sh_size; at += sizeof(Elf32_Sym)) {
      const auto symbol = ReadAt<Elf32_Sym>(bytes_, table.sh_offset + at, file_);
      const uint64_t name = uint64_t{names.sh_offset} + symbol.st_name;
      if (ELF32_ST_BIND(symbol.st_info) != STB_GLOBAL || name >= bytes_.size()) continue;
      symbols->addresses[bytes_.c_str() + name] = symbol.st_value;
    }
  }
  symbols_ = std::move(symbols);
  // What of the firmware's types is laid out by both compilers must be the same.
  Rv32iCore core(memory_bytes(), nullptr);
  Load(&core);
  uint32_t config_bytes;
  std::memcpy(&config_bytes, core.At(symbol("qpip_image_config_bytes"), sizeof(config_bytes)),
              sizeof(config_bytes));
  if (config_bytes != sizeof(fw::NicConfig)) {
    throw std::runtime_error(file +
                             " is of another version of the firmware: build it again with "
                             "tools/build-rv32i");
  }
}

std::string FirmwareImage::DefaultFile() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return (program.parent_path().parent_path() / "share" / "qpip" / "qpip-firmware.elf").string();
}

void FirmwareImage::UseFile(std::string file) { SharedFile() = std::move(file); }

std::shared_ptr<const FirmwareImage> FirmwareImage::Shared() {
  static const auto image =
      std::make_shared<const FirmwareImage>(SharedFile().empty() ? DefaultFile() : SharedFile());
  return image;
}

uint32_t FirmwareImage::symbol(const std::string& name) const {
  const auto found = symbols_->addresses.find(name);
  if (found == symbols_->addresses.end()) {
    throw std::runtime_error(file_ + " has no symbol " + name +
                             ": build it again with tools/build-rv32i");
  }
  return found->second;
}

void FirmwareImage::Load(Rv32iCore* core) const {
  const auto header = ReadAt<Elf32_Ehdr>(bytes_, 0, file_);
  for (uint32_t i = 0; i < header.e_phnum; ++i) {
    const auto segment =
        ReadAt<Elf32_Phdr>(bytes_, header.e_phoff + uint64_t{i} * sizeof(Elf32_Phdr), file_);
    if (segment.p_type != PT_LOAD || segment.p_filesz == 0) continue;
    if (uint64_t{segment.p_offset} + segment.p_filesz > bytes_.size()) {
      throw std::runtime_error(file_ + " is cut short: build it again with tools/build-rv32i");
    }
    std::memcpy(core->At(segment.p_paddr, segment.p_filesz), bytes_.data() + segment.p_offset,
                segment.p_filesz);
  }
}

}  // namespace qpip::sim
