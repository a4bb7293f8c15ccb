#include "memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <string>
#include <utility>

#include "nic_impl.h"
#include "qpip/qpip.h"
#include "queue_pair.h"
#include "status.h"

namespace qpip {

namespace internal {

MappedMemory::MappedMemory(size_t bytes, const char* purpose) : size_(bytes) {
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    throw Error(ENOMEM, "cannot map " + std::to_string(bytes) + " bytes for " + purpose);
  }
  data_ = static_cast<std::byte*>(address);
}

MappedMemory::~MappedMemory() {
  if (data_ != nullptr) munmap(data_, size_);
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MrImpl::MrImpl(std::shared_ptr<PdImpl> pd, void* address, size_t bytes, int access,
               const RegionOptions& options)
    : pd_(std::move(pd)),
      data_(address),
      size_(bytes),
      iova_(reinterpret_cast<uintptr_t>(address)) {
  if (address == nullptr || bytes == 0) throw Error(EINVAL, "register memory: the range is empty");
  if (options.iova.has_value()) iova_ = *options.iova;
  uint32_t queue_pair = abi::kAnyQueuePair;
  if (options.queue_pair != nullptr) {
    const std::shared_ptr<QpImpl>& qp = NicImpl::Impl(*options.queue_pair);
    queue_pair = qp->handle();
  }
  Register(access, queue_pair);
}

MrImpl::MrImpl(std::shared_ptr<PdImpl> pd, size_t bytes, int access)
    : pd_(std::move(pd)), size_(bytes) {
  if (bytes == 0) throw Error(EINVAL, "allocate memory: the size is 0");
  shared_ = pd_->nic()->port().AllocateShared(bytes);
  if (shared_ != nullptr) {
    data_ = shared_;
  } else {
    owned_ = MappedMemory(bytes, "registered memory");
    data_ = owned_.data();
  }
  iova_ = reinterpret_cast<uintptr_t>(data_);
  try {
    Register(access, abi::kAnyQueuePair);
  } catch (...) {
    FreeShared();
    throw;
  }
}

MrImpl::~MrImpl() {
  if (pd_->nic()->forked()) return;
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
  command.deregister_memory = {.key = key_};
  // Nothing to wait for: a work request completes after the last reference to its memory has ended
  // (the caller keeps memory registered until then).
  pd_->nic()->channel().Execute(command);
  FreeShared();
}

void MrImpl::Register(int access, uint32_t queue_pair) {
  abi::HostPort& port = pd_->nic()->port();
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
  command.register_memory = {
      .iova = iova_,
      .length = size_,
      .page_list = port.DmaAddress(data_),
      .page_count = 0,
      .page_shift = 0,
      .access = static_cast<uint32_t>(access & ~IBV_ACCESS_OPTIONAL_RANGE),
      .protection_domain = pd_->id(),
      .queue_pair = queue_pair,
  };
  const abi::Event answer = pd_->nic()->channel().Execute(command);
  ThrowIfFailed(answer, "register " + std::to_string(size_) + " bytes of memory");
  key_ = answer.result[0];
  verbs_.addr = data_;
  verbs_.length = size_;
  verbs_.lkey = verbs_.rkey = key_;
}

MwImpl::MwImpl(std::shared_ptr<PdImpl> pd) : pd_(std::move(pd)) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kAllocateWindow);
  command.allocate_window = {.protection_domain = pd_->id()};
  const abi::Event answer = pd_->nic()->channel().Execute(command);
  ThrowIfFailed(answer, "allocate a memory window");
  verbs_.rkey = answer.result[0];
  verbs_.type = IBV_MW_TYPE_2;
}

MwImpl::~MwImpl() {
  if (pd_->nic()->forked()) return;
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
  command.deregister_memory = {.key = verbs_.rkey};
  pd_->nic()->channel().Execute(command);
}

void MrImpl::FreeShared() {
  if (shared_ != nullptr) pd_->nic()->port().FreeShared(shared_, size_);
}

}  // namespace internal

MemoryRegion::MemoryRegion(std::unique_ptr<internal::MrImpl> impl) : impl_(std::move(impl)) {}
MemoryRegion::~MemoryRegion() = default;

uint32_t MemoryRegion::lkey() const { return impl_->key(); }
uint32_t MemoryRegion::rkey() const { return impl_->key(); }
ibv_mr* MemoryRegion::get() const { return impl_->verbs(); }
void* MemoryRegion::data() const { return impl_->data(); }
size_t MemoryRegion::size() const { return impl_->size(); }

ibv_sge MemoryRegion::Sge(size_t offset, uint32_t length) const {
  return {.addr = impl_->iova() + offset, .length = length, .lkey = impl_->key()};
}

MemoryWindow::MemoryWindow(std::unique_ptr<internal::MwImpl> impl) : impl_(std::move(impl)) {}
MemoryWindow::~MemoryWindow() = default;
uint32_t MemoryWindow::rkey() const { return impl_->verbs()->rkey; }
ibv_mw* MemoryWindow::get() const { return impl_->verbs(); }

ProtectionDomain::ProtectionDomain(std::shared_ptr<internal::PdImpl> impl)
    : impl_(std::move(impl)) {}
ProtectionDomain::~ProtectionDomain() = default;

std::unique_ptr<MemoryRegion> ProtectionDomain::Register(void* address, size_t bytes, int access,
                                                         const RegionOptions& options) {
  impl_->nic()->ThrowIfForked("register memory");
  auto impl = std::make_unique<internal::MrImpl>(impl_, address, bytes, access, options);
  return std::unique_ptr<MemoryRegion>(new MemoryRegion(std::move(impl)));
}

std::unique_ptr<MemoryRegion> ProtectionDomain::Allocate(size_t bytes, int access) {
  impl_->nic()->ThrowIfForked("allocate memory");
  auto impl = std::make_unique<internal::MrImpl>(impl_, bytes, access);
  return std::unique_ptr<MemoryRegion>(new MemoryRegion(std::move(impl)));
}

std::unique_ptr<MemoryWindow> ProtectionDomain::AllocateWindow() {
  impl_->nic()->ThrowIfForked("allocate a memory window");
  return std::unique_ptr<MemoryWindow>(new MemoryWindow(std::make_unique<internal::MwImpl>(impl_)));
}

}  // namespace qpip
