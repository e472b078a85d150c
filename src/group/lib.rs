//! The consumer-group coordinator as a pure state machine.
