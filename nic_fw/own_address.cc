#include "nic_fw/own_address.h"

#include "nic_fw/neighbour_cache.h"
#include "nic_fw/neighbour_messages.h"
#include "nic_fw/neighbour_table.h"
#include "nic_fw/routes.h"

namespace qpip::fw {
namespace {

using icmpv6::NeighbourMessage;

/// The one place where the address changes state; traced.
void SetAddressState(const Nic& nic, AddressState state) {
  LinkState& link = LinkOf(nic);
  nic.Trace(kTraceAddressState, 0, static_cast<uint32_t>(link.address_state),
            static_cast<uint32_t>(state));
  link.address_state = state;
  link.address_deadline = tcp::kNever;
  if (state == AddressState::kDuplicate) {
    nic.Count(abi::NicCounter::kDuplicateAddress);
    return;
  }
  StartRouterSolicitation(nic);
  link.next_deadline = nic.now;
}

}  // namespace

bool IsForUs(const Nic& nic, const ipv6::Address& destination) {
  const ipv6::Address own = OwnAddress(nic);
  return destination == own || destination == icmpv6::kAllNodes ||
         destination == icmpv6::SolicitedNode(own);
}

bool AddressUsable(const Nic& nic) { return LinkOf(nic).address_state == AddressState::kPreferred; }

void ServiceAddress(const Nic& nic) {
  LinkState& link = LinkOf(nic);
  if (link.address_probes >= nic.state.config.link.dad_transmits) {
    SetAddressState(nic, AddressState::kPreferred);
    return;
  }
  ++link.address_probes;
  link.address_deadline = nic.now + RetransmitNs(link);
  SolicitOwnAddress(nic);
}

void OnOwnAddressAdvertised(const Nic& nic) {
  if (LinkOf(nic).address_state == AddressState::kTentative) {
    SetAddressState(nic, AddressState::kDuplicate);
  }
}

void OnNeighbourSolicitation(const Nic& nic, const ipv6::Address& source,
                             const NeighbourMessage& message) {
  LinkState& link = LinkOf(nic);
  if (!(message.target == OwnAddress(nic))) return;
  const bool looks_for_duplicates = source.IsUnspecified();
  if (link.address_state == AddressState::kTentative) {
    // Somebody else is about to take the same address: nobody may.
    if (looks_for_duplicates) SetAddressState(nic, AddressState::kDuplicate);
    return;
  }
  if (link.address_state == AddressState::kDuplicate) return;
  if (!looks_for_duplicates && message.has_source_link) {
    LearnFromSource(nic, source, message.source_link);
  }
  NeighbourMessage answer;
  answer.type = icmpv6::kNeighbourAdvertisement;
  answer.target = message.target;
  answer.solicited = !looks_for_duplicates;
  answer.override_entry = true;
  answer.has_target_link = true;
  answer.target_link = OwnLink(nic);
  if (looks_for_duplicates) {
    SendNeighbourMessage(nic, answer, OwnAddress(nic), icmpv6::kAllNodes,
                         icmpv6::MulticastLink(icmpv6::kAllNodes));
    return;
  }
  const uint32_t index = FindNeighbour(nic, source);
  if (index != kNone && HasLinkAddress(NeighbourAt(nic, index).state)) {
    SendNeighbourMessage(nic, answer, OwnAddress(nic), source, NeighbourAt(nic, index).link);
  } else if (message.has_source_link) {
    SendNeighbourMessage(nic, answer, OwnAddress(nic), source,
                         message.source_link);  // the table is full
  }
}

}  // namespace qpip::fw
