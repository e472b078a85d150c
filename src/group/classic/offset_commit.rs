//! OffsetCommit: who may commit. The host writes the offsets, in the transaction of this command's changes.

use tidegate_format::GroupState;

use super::Group;
use crate::{CommitOffsets, GroupError};

impl Group {
    pub(super) fn handle_offset_commit(
        &mut self,
        now_ms: i64,
        commit: &CommitOffsets,
    ) -> Result<(), GroupError> {
        self.check_offset_commit(commit)?;
        self.rows.found();
        if !commit.transactional {
            // A commit is a sign of life (Completing was refused, and an empty group has no members).
            self.renew_session(&commit.member.member_id, now_ms);
        }
        Ok(())
    }

    fn check_offset_commit(&self, commit: &CommitOffsets) -> Result<(), GroupError> {
        let is_empty = self.state == GroupState::Empty;
        if commit.generation.0 < 0 && is_empty {
            return Ok(());
        }
        let names_member = !commit.member.member_id.is_empty() || commit.member.instance.is_some();
        if commit.generation.0 >= 0 || names_member {
            self.check_member(&commit.member)?;
            if commit.generation != self.generation {
                return Err(GroupError::IllegalGeneration);
            }
        } else if !commit.transactional {
            // Offsets of a group with members are theirs to commit.
            return Err(GroupError::UnknownMemberId);
        }
        if !commit.transactional && self.state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }
}
