//! Random histories of models, events, schedules, offsets, groups and records, with a copy taken in their midst: what is
//! restored is the store of that one moment, and goes on from there.

mod random;
mod world;
