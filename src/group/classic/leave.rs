//! LeaveGroup: one member that stops, or several that an administrator removes.
//!
//! Where this differs from Kafka: an id that was handed out and never joined leaves without a rebalance.

use tidegate_format::GroupState;

use super::Group;
use crate::{Effects, GroupError, Leave, MemberIdentity, Reply, Ticket};

impl Group {
    pub(super) fn handle_leave(&mut self, now_ms: i64, ticket: Ticket, leave: Leave, effects: &mut Effects) {
        let members_before = self.members.len();
        let mut replies = Vec::with_capacity(leave.members.len());
        for member in leave.members {
            let outcome = self.remove_leaving(&member, effects);
            replies.push((member, outcome));
        }
        effects.reply(ticket, Reply::Leave(replies));
        if self.state == GroupState::PreparingRebalance {
            self.maybe_complete_join(now_ms, effects);
        } else if self.members.len() < members_before {
            self.prepare_rebalance(now_ms, effects);
        }
    }

    fn remove_leaving(&mut self, member: &MemberIdentity, effects: &mut Effects) -> Result<(), GroupError> {
        let instance_owner =
            member.instance.as_ref().and_then(|instance| self.members.id_of_instance(instance));
        let member_id = if member.member_id.is_empty() {
            instance_owner.ok_or(GroupError::UnknownMemberId)?.to_owned()
        } else {
            if !self.pending_join.contains(&member.member_id) {
                self.check_member(member)?;
            }
            member.member_id.clone()
        };
        self.remove_member(&member_id, GroupError::UnknownMemberId, effects);
        Ok(())
    }
}
