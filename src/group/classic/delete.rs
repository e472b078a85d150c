//! DeleteGroups: only a group without members goes.

use tidegate_format::GroupState;

use super::Group;
use crate::{Change, Effects, GroupError};

impl Group {
    /// After success the group is gone, with the ids that were handed out: the host deletes its offsets in the same
    /// transaction and drops it.
    pub(super) fn handle_delete(&mut self, effects: &mut Effects) -> Result<(), GroupError> {
        if self.state != GroupState::Empty {
            return Err(GroupError::NonEmptyGroup);
        }
        if !self.is_founded() {
            return Err(GroupError::GroupIdNotFound);
        }
        for member_id in std::mem::take(&mut self.pending_join) {
            self.sessions.cancel(&member_id);
        }
        self.rows.forget();
        effects.changes.push(Change::DeleteGroup);
        Ok(())
    }
}
