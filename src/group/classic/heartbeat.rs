//! Heartbeat.

use tidegate_format::GroupState;

use super::Group;
use crate::{GroupError, Heartbeat};

impl Group {
    pub(super) fn handle_heartbeat(&mut self, now_ms: i64, heartbeat: &Heartbeat) -> Result<(), GroupError> {
        self.check_member(&heartbeat.member)?;
        if heartbeat.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.renew_session(&heartbeat.member.member_id, now_ms);
        match self.state {
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }
}
