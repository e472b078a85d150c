//! Typed models with indexes, written together with their events.
