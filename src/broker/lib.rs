//! The shell: sockets, tasks, clock, configuration, metrics, admin HTTP.
