// Files of WireGuard interfaces for the wire tests: keys that nobody else uses, in a directory of
// the test's own.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace qpip::wire::test {

struct KeyPair {
  const char* private_key;
  const char* public_key;
};
/// Made with `wg genkey`, for these tests.
inline constexpr KeyPair kKeys[] = {
    {"", ""},
    {"MPesUbq5+8em8Qq7Di/kHP4ayC2Ye21ouF9FHyKIIUA=",
     "xLbGwW8XCOmVMU8etoesSJGkMwKUgGl+F4zMMUXoo3o="},
    {"4E849rlhtQ323UCYFMSTbbhBrbEDOY/cwO7DthIA9VM=",
     "WFp2TkxMkRL8wQYG87h+PpmAhCBIVXxjXu1PsWvGnhw="},
    {"sI5vqWJj/pxJ5lgen6fipHMmkDsnd6Z6idkEgH3Q5Vw=",
     "vzaWRUG2pSIu+XZzqOcb3WJs8yCDuLwernd3EYwFoDE="},
};

/// A directory that goes with its files.
class Files {
 public:
  Files() {
    char name[] = "/tmp/qpip-wg-test-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~Files() { std::filesystem::remove_all(directory_); }
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  std::string Write(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    std::ofstream(Path(name)) << text;
    ::chmod(Path(name).c_str(), mode);
    return Path(name);
  }
  std::string Read(const std::string& name) const {
    std::ifstream file(Path(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string directory_;
};

/// "[Interface]" of number `self`, fd00::self.
inline std::string InterfaceText(int self) {
  return "[Interface]\nPrivateKey = " + std::string(kKeys[self].private_key) +
         "\nAddress = fd00::" + std::to_string(self) + "/64\n";
}
/// "[Peer]" of number `peer`, with fd00::peer.
inline std::string PeerText(int peer, const std::string& more = "") {
  return "[Peer]\nPublicKey = " + std::string(kKeys[peer].public_key) +
         "\nAllowedIPs = fd00::" + std::to_string(peer) + "/128\n" + more;
}
inline std::string EndpointLine(uint64_t port) {
  return "Endpoint = 127.0.0.1:" + std::to_string(port) + "\n";
}

}  // namespace qpip::wire::test
