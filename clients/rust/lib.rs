//! What a Rust application links: producer, group consumer, models and events.
