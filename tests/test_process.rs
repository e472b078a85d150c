//! A test again, in a process of its own that can be killed: the test that starts it looks at an environment variable to know
//! which of the two it is.
//!
//! Always: the process is gone when the [`TestProcess`] is dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::deadline::HANG_AFTER;

/// A process that runs one test of this test binary.
#[derive(Debug)]
pub struct TestProcess {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl TestProcess {
    /// Runs a test, by its full name, with these environment variables set.
    ///
    /// # Panics
    /// If there is no process to be had.
    #[must_use]
    pub fn start(test: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", test, "--nocapture"])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let (say, lines) = mpsc::channel();
        thread::spawn(move || {
            // Nobody hears the rest once the process is dropped.
            output.lines().map_while(Result::ok).try_for_each(|line| say.send(line)).ok();
        });
        Self { child, lines }
    }

    /// The next line that it says.
    ///
    /// # Panics
    /// If it ends before, or hangs.
    pub fn line(&mut self) -> String {
        self.lines.recv_timeout(HANG_AFTER).expect("it says more before it ends")
    }

    /// Waits for a line that begins so, and gives the rest of it.
    ///
    /// # Panics
    /// If it ends before, or hangs.
    pub fn said(&mut self, prefix: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(prefix) {
                return rest.to_owned();
            }
        }
    }

    /// Kills it, in the midst of whatever it does, and gives what it had said beyond what was read.
    ///
    /// # Panics
    /// If it has ended by itself.
    pub fn kill(mut self) -> Vec<String> {
        let ended = self.child.try_wait().expect("it is ours");
        assert!(ended.is_none(), "it runs until it is killed: {ended:?}");
        self.child.kill().expect("it is ours");
        self.lines.iter().collect()
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        // It may be gone already; either way it is after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
