//! What a group's state means for its committed offsets: which topics it reads, which offsets may go.

use std::collections::BTreeSet;

use tidegate_format::GroupState;

use super::Group;
use crate::{GroupError, OffsetExpiry, subscribed_topics};

/// The protocol type of consumers, whose subscriptions can be read.
const CONSUMER: &str = "consumer";

impl Group {
    /// Whether a member reads a topic, as far as can be told: consumers with subscriptions that cannot be read count
    /// as reading every topic, members that are no consumers as reading none.
    #[must_use]
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.has_consumers(),
        }
    }

    /// Whether offsets may be deleted (OffsetDelete) at all; those of topics that it
    /// [reads](Self::is_subscribed_to) may not (GROUP_SUBSCRIBED_TO_TOPIC).
    ///
    /// # Errors
    /// `NonEmptyGroup` for members that are no consumers.
    pub fn check_offset_delete(&self) -> Result<(), GroupError> {
        if self.state == GroupState::Empty || self.has_consumers() {
            Ok(())
        } else {
            Err(GroupError::NonEmptyGroup)
        }
    }

    /// From when the retention of the offsets of topics that it does not read counts (KIP-211, KIP-496).
    #[must_use]
    pub fn offset_expiry(&self) -> OffsetExpiry {
        if self.protocol_type.is_none() {
            return OffsetExpiry::SinceCommit;
        }
        match self.state {
            GroupState::Empty => OffsetExpiry::SinceEmpty { since_ms: self.state_since_ms },
            GroupState::Stable if self.has_consumers() && self.subscribed_topics.is_some() => {
                OffsetExpiry::SinceCommit
            }
            _ => OffsetExpiry::Never,
        }
    }

    fn has_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Reads the subscriptions of the running generation.
    pub(super) fn refresh_subscribed_topics(&mut self) {
        self.subscribed_topics = self.read_subscriptions();
    }

    fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.has_consumers() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for (_, member) in self.members.iter() {
            let metadata = member.metadata(protocol);
            topics.extend(subscribed_topics(&metadata).ok()?.into_iter().map(str::to_owned));
        }
        Some(topics)
    }
}
