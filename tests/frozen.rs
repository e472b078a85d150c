//! Stopping a process where it is, so that it has stopped when that returns.

use std::process::Child;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Stops a process (SIGSTOP) and waits until none of its threads runs: the signal alone is delivered, and some of them go
/// on until they are told.
///
/// # Panics
/// When the process is gone.
pub(crate) fn freeze(process: &Child) {
    let id = Pid::from_child(process);
    kill_process(id, Signal::STOP).expect("the signal is delivered");
    let (_, status) = waitpid(Some(id), WaitOptions::UNTRACED)
        .expect("it is a child of this process")
        .expect("it is waited for without a limit");
    assert!(status.stopped(), "it ended instead: {status:?}");
}
