//! What a group's host promises, in virtual time, on a store that fails when told to.

mod failures;
mod fixture;
mod hosting;
mod marks;
mod removal;
mod restarts;
mod turns;
