//! Programs that a test runs to their end: those of `clients/`, which are what users of other languages have, and the
//! binary itself where it must refuse to start.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::deadline::HANG_AFTER;

/// A step of the time that a program has.
const STEP: Duration = Duration::from_millis(10);

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    /// Whether it ended with code 0.
    pub success: bool,
    /// The code that it ended with; none if a signal ended it.
    pub code: Option<i32>,
    /// Its lines on standard output.
    pub lines: Vec<String>,
    /// All of its standard error.
    pub standard_error: String,
}

/// Runs one client's program (see `clients/run`) against a broker to its end.
///
/// # Panics
/// As [`run`].
#[must_use]
pub fn run_client(client: &str, bootstrap: &str) -> Outcome {
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/run")).args([client, bootstrap, client]);
    run(&mut command)
}

/// Runs a program to its end.
///
/// # Panics
/// When it cannot be started, or hangs.
#[must_use]
pub fn run(command: &mut Command) -> Outcome {
    run_within(HANG_AFTER, command)
}

/// As [`run`], for a program of which it is promised that it ends within a time of its start. That is counted in steps, so that
/// what the machine stands still does not count.
///
/// # Panics
/// As [`run`], and when it takes longer.
#[must_use]
pub fn run_within(limit: Duration, command: &mut Command) -> Outcome {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let output = read_all(process.stdout.take().expect("it is piped"));
    let errors = read_all(process.stderr.take().expect("it is piped"));
    let steps = (limit.as_millis() / STEP.as_millis()).max(1);
    let ended = (0..steps).find_map(|_| output.recv_timeout(STEP).ok());
    let output = ended.unwrap_or_else(|| {
        // The test fails either way; the message is the hang.
        let _ = process.kill();
        let said = errors.recv_timeout(HANG_AFTER).unwrap_or_default();
        panic!("{command:?} has not ended within {limit:?}: {said}")
    });
    let status = process.wait().expect("it is reaped");
    let standard_error = errors.recv_timeout(HANG_AFTER).expect("a program that ended has closed its pipes");
    Outcome {
        success: status.success(),
        code: status.code(),
        lines: output.lines().map(ToOwned::to_owned).collect(),
        standard_error,
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (done, read) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until then is more use than the reason why it broke off.
        let _ = pipe.read_to_end(&mut bytes);
        // The receiver is gone only if the test has failed already.
        let _ = done.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "has not ended within 1ms")]
    fn a_program_that_takes_longer_than_is_promised_of_it_is_noticed_and_ended() {
        // It would end by itself only after the test's own deadline.
        let _ = run_within(Duration::from_millis(1), Command::new("sleep").arg("600"));
    }
}
