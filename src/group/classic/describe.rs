//! What DescribeGroups and ListGroups show.

use bytes::Bytes;
use tidegate_format::GroupState;

use super::Group;

/// Kafka's name of a state.
#[must_use]
pub fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Stable => "Stable",
    }
}

/// A group in a list of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Where it is in its rebalance.
    pub state: GroupState,
    /// The kind of members; none for a group that only keeps offsets.
    pub protocol_type: Option<String>,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Where it is in its rebalance.
    pub state: GroupState,
    /// The kind of members; none for a group that only keeps offsets.
    pub protocol_type: Option<String>,
    /// The assignor, in a stable group.
    pub protocol: Option<String>,
    /// By member id.
    pub members: Vec<MemberDescription>,
}

/// A member of a described group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: String,
    /// Its instance id.
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// The host it connected from.
    pub client_host: String,
    /// Its subscription, in a stable group.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

impl Group {
    /// For a list of groups.
    #[must_use]
    pub fn summary(&self) -> GroupSummary {
        GroupSummary { state: self.state, protocol_type: self.protocol_type.clone() }
    }

    /// Everything that tools show.
    #[must_use]
    pub fn describe(&self) -> GroupDescription {
        let protocol = self.protocol.as_ref().filter(|_| self.state == GroupState::Stable);
        let members = self.members.iter().map(|(member_id, member)| MemberDescription {
            member_id: member_id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.map(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: member.assignment.clone(),
        });
        GroupDescription {
            state: self.state,
            protocol_type: self.protocol_type.clone(),
            protocol: protocol.cloned(),
            members: members.collect(),
        }
    }
}
