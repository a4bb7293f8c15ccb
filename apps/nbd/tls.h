// TLS for conventional clients, by OpenSSL: certificates (X.509) or keys shared beforehand (PSK).
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

// OpenSSL's own, without its headers.
struct ssl_ctx_st;
struct ssl_st;

namespace qpip::nbd {

struct TlsOptions {
  /// A folder with server-cert.pem and server-key.pem, and ca-cert.pem where clients are verified;
  /// the names are those of nbdkit and qemu. Empty: no certificates.
  std::string certificates;
  bool verify_clients = false;
  std::string psk_file;   ///< lines of USER:KEY, the key in hexadecimal digits; empty: none
  bool optional = false;  ///< clients may go without
};

/// What a server speaks TLS with. Immutable, shared by its connections.
class TlsContext {
 public:
  /// Throws apps::Failure: a file cannot be read or is not what it should be; built without
  /// OpenSSL.
  explicit TlsContext(const TlsOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  bool required() const { return !optional_; }
  ssl_ctx_st* get() const { return context_.get(); }
  /// The key of a user; nullptr: there is none.
  const std::vector<unsigned char>* KeyOf(const std::string& user) const;

 private:
  bool optional_;
  std::map<std::string, std::vector<unsigned char>> keys_;
  std::unique_ptr<ssl_ctx_st, void (*)(ssl_ctx_st*)> context_;
};

/// TLS on a non-blocking socket, the server's side. One thread. Calls throw ConnectionLost.
class TlsSession {
 public:
  enum class Wants { kNothing, kToRead, kToWrite };

  /// References must outlive it; the descriptor stays its owner's.
  TlsSession(const TlsContext& context, int socket);
  ~TlsSession();  ///< Says good-bye, if that costs no wait.
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  /// One step of the handshake. kNothing: it is done.
  Wants Handshake();
  /// Bytes received; 0 with `*ended`: the peer has said good-bye; 0 without: nothing yet.
  size_t Read(std::span<std::byte> out, bool* ended);
  /// Bytes taken; 0: no room yet, and the same bytes must be given again.
  size_t Write(std::span<const std::byte> bytes);

 private:
  std::unique_ptr<ssl_st, void (*)(ssl_st*)> session_;
};

}  // namespace qpip::nbd
