//! Events in a caller's transaction, and their way into the log when they are due.
