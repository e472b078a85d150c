//! This test again, in a process of its own that can be killed.
//!
//! Always: the process is gone when the [`Process`] is dropped.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Runs a test of this suite with these variables set, by which it knows that it is to be killed.
    pub(crate) fn start(test: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", test, "--nocapture"])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        Self { child, lines }
    }

    /// Waits for a line that begins so, and gives the rest of it.
    pub(crate) fn said(&mut self, prefix: &str) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        let rest = lines.find_map(|line| line.strip_prefix(prefix).map(str::to_owned));
        rest.expect("it says so before it ends")
    }

    /// Kills it, in the midst of whatever it does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs until it is killed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; either way it is after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
