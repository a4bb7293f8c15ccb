// VCONN: requests and answers as messages, many at a time. A server and a client, each with a NIC
// of its own on a fabric inside this process.
#include <cctype>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>

#include "qpip/qpip.h"
#include "qpip/vconn.h"

namespace {

constexpr uint16_t kPort = 5001;
constexpr uint64_t kRequests = 1000;

std::string Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Answers each request with its data in capital letters.
void Serve(qpip::Listener& listener, qpip::VconnSession& session) {
  listener.Offer(session.qp());
  listener.Accept();
  session.Open();
  while (auto message = session.Receive()) {
    std::string answer = Text(message->data());
    for (char& letter : answer) letter = static_cast<char>(std::toupper(letter));
    const uint64_t cookie = message->cookie();
    message->GiveBack();  // The credit goes back with the answer.
    session.Answer(cookie, {.request = "upper", .data = answer});
  }
  session.Flush();
}

/// Has as many requests on their way as the server has receives for.
void Ask(qpip::VconnSession& session) {
  uint64_t asked = 0;
  for (uint64_t answered = 0; answered < kRequests;) {
    const std::string text = "request " + std::to_string(asked);
    if (asked < kRequests &&
        session.vconn().TryRequest(asked, {.request = "upper", .data = text})) {
      ++asked;
      continue;
    }
    const auto answer = session.vconn().Next();
    if (!answer) {
      session.Wait();  // for an answer, or for credits
      continue;
    }
    if (Text(answer->data()) != "REQUEST " + std::to_string(answer->context())) {
      throw std::runtime_error("a wrong answer: " + Text(answer->data()));
    }
    ++answered;
  }
  std::printf("%llu answers, with a window of %u messages\n",
              static_cast<unsigned long long>(kRequests), session.vconn().window());
}

}  // namespace

int main() try {
  auto server_nic = qpip::Nic::Open("mem:vconn?address=fd00::1");
  auto client_nic = qpip::Nic::Open("mem:vconn?address=fd00::2");
  auto server_domain = server_nic->AllocatePd();
  auto client_domain = client_nic->AllocatePd();
  auto listener = server_nic->Listen(kPort);
  qpip::VconnSession server(*server_nic, *server_domain);
  qpip::VconnSession client(*client_nic, *client_domain);
  std::thread serving([&] { Serve(*listener, server); });
  client.Connect({server_nic->address(), kPort});
  Ask(client);
  client.CloseWrite();
  serving.join();
} catch (const std::exception& error) {
  std::fprintf(stderr, "vconn_requests: %s\n", error.what());
  return 1;
}
