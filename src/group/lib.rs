//! The consumer-group coordinator as a pure state machine.
//!
//! What it is: a [`Group`] takes one [`Command`] at a time, with the time it happens at, and returns [`Effects`]: the
//! rows to write and the replies to send. It is Kafka's classic protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup
//! of dynamic and static members), the rules for committing, deleting and expiring offsets, and for deleting groups.
//! The behaviour is that of Apache Kafka's `group-coordinator` module, message by message; where it is not, the
//! module that differs says so.
//!
//! What it refuses to do: it knows no clock, no randomness, no socket and no store. Time, tickets and new member ids
//! are arguments; members are kept in the order of their ids, and that order decides every tie.
//!
//! What always holds:
//! - a ticket gets exactly one reply: at once, when the others of its group have come, or at a deadline;
//! - the host commits `changes` in one transaction *before* it sends `replies`; if that fails it drops the group and
//!   loads it again, and [`Group::load`] of the rows goes on with the same generation and the same members;
//! - a member who was told a generation has a row; one who was not has none;
//! - what one command writes is the group's row and the rows of the members that it changed;
//! - memory is bounded by [`GroupConfig`]: members, bytes per member, bytes per group.
//!
//! The protocol of KIP-848 gets a module of its own beside `classic`.

mod absent;
mod change;
mod classic;
mod command;
mod config;
mod error;
mod offset_expiry;
mod reply;
mod subscription;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod transcript;
#[cfg(test)]
mod transcript_tests;

pub use absent::{WithoutGroup, without_group};
pub use change::{Change, Coordinator};
pub use classic::{Group, GroupDescription, GroupSummary, LoadError, MemberDescription, state_name};
pub use command::{Command, CommitOffsets, Heartbeat, Join, Leave, MemberIdentity, Sync, Ticket};
pub use config::GroupConfig;
pub use error::GroupError;
pub use offset_expiry::OffsetExpiry;
pub use reply::{Effects, JoinRefused, Joined, JoinedMember, Reply, Synced};
pub use subscription::{SubscriptionError, subscribed_topics};
