#include "apps/nbd/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "apps/common/command_line.h"
#include "apps/nbd/transport.h"

namespace qpip::nbd {

namespace {

std::string ReasonText() {
  const unsigned long code = ERR_peek_last_error();
  const char* const reason = ERR_reason_error_string(code);
  ERR_clear_error();
  return reason != nullptr ? reason : "unknown";
}

std::vector<unsigned char> FromHex(const std::string& digits) {
  std::vector<unsigned char> bytes;
  const bool whole = !digits.empty() && digits.size() % 2 == 0;
  if (!whole || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) return {};
  for (size_t i = 0; i < digits.size(); i += 2) {
    bytes.push_back(static_cast<unsigned char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::map<std::string, std::vector<unsigned char>> ReadKeys(const std::string& path) {
  std::map<std::string, std::vector<unsigned char>> keys;
  std::ifstream file(path);
  if (!file) throw apps::Failure("cannot read the keys: " + path);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    const size_t colon = line.find(':');
    std::vector<unsigned char> key = FromHex(line.substr(std::min(colon, line.size() - 1) + 1));
    if (colon == std::string::npos || colon == 0 || key.empty() || key.size() > PSK_MAX_PSK_LEN) {
      throw apps::Failure("bad line in the keys: " + path +
                          ": give USER:KEY, the key in hexadecimal");
    }
    keys[line.substr(0, colon)] = std::move(key);
  }
  return keys;
}

unsigned GiveKey(SSL* session, const char* user, unsigned char* out, unsigned room) {
  const auto* const context = static_cast<const TlsContext*>(SSL_get_app_data(session));
  const auto* const key = user != nullptr ? context->KeyOf(user) : nullptr;
  if (key == nullptr || key->size() > room) return 0;
  std::memcpy(out, key->data(), key->size());
  return static_cast<unsigned>(key->size());
}

}  // namespace

TlsContext::TlsContext(const TlsOptions& options)
    : optional_(options.optional), context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
  SSL_CTX* const context = context_.get();
  if (context == nullptr) throw apps::Failure("no TLS: " + ReasonText());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (!options.psk_file.empty()) {
    keys_ = ReadKeys(options.psk_file);
    SSL_CTX_set_psk_server_callback(context, GiveKey);
  }
  if (options.certificates.empty()) return;
  const auto in_folder = [&](const char* name) { return options.certificates + "/" + name; };
  const auto check = [](int result, const std::string& file) {
    if (result != 1) throw apps::Failure("bad certificate or key: " + file + ": " + ReasonText());
  };
  const std::string certificate = in_folder("server-cert.pem");
  const std::string key = in_folder("server-key.pem");
  check(SSL_CTX_use_certificate_chain_file(context, certificate.c_str()), certificate);
  check(SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM), key);
  check(SSL_CTX_check_private_key(context), key);
  if (!options.verify_clients) return;
  const std::string authority = in_folder("ca-cert.pem");
  check(SSL_CTX_load_verify_locations(context, authority.c_str(), nullptr), authority);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
}

TlsContext::~TlsContext() = default;

const std::vector<unsigned char>* TlsContext::KeyOf(const std::string& user) const {
  const auto found = keys_.find(user);
  return found == keys_.end() ? nullptr : &found->second;
}

TlsSession::TlsSession(const TlsContext& context, int socket)
    : session_(SSL_new(context.get()), SSL_free) {
  if (session_ == nullptr) throw ConnectionLost("no TLS: " + ReasonText());
  SSL_set_app_data(session_.get(), const_cast<TlsContext*>(&context));
  SSL_set_fd(session_.get(), socket);
  SSL_set_accept_state(session_.get());
}

TlsSession::~TlsSession() {
  SSL_shutdown(session_.get());
  ERR_clear_error();
}

TlsSession::Wants TlsSession::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(session_.get());
  if (result == 1) return Wants::kNothing;
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Wants::kToRead;
    case SSL_ERROR_WANT_WRITE:
      return Wants::kToWrite;
    default:
      throw ConnectionLost("TLS handshake failed: " + ReasonText());
  }
}

size_t TlsSession::Read(std::span<std::byte> out, bool* ended) {
  ERR_clear_error();
  size_t bytes = 0;
  const int result = SSL_read_ex(session_.get(), out.data(), out.size(), &bytes);
  if (result == 1) return bytes;
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return 0;
    case SSL_ERROR_ZERO_RETURN:
      *ended = true;
      return 0;
    default:
      throw ConnectionLost("TLS: " + ReasonText());
  }
}

size_t TlsSession::Write(std::span<const std::byte> bytes) {
  ERR_clear_error();
  size_t taken = 0;
  const int result = SSL_write_ex(session_.get(), bytes.data(), bytes.size(), &taken);
  if (result == 1) return taken;
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return 0;
    default:
      throw ConnectionLost("TLS: " + ReasonText());
  }
}

}  // namespace qpip::nbd
