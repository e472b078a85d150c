//! The admin port, asked as a scraper asks it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::deadline::{Deadline, HANG_AFTER};

/// Between two looks at the readiness of a broker that is waited for, and of one that is watched.
const READINESS_POLL: Duration = Duration::from_millis(20);
const READINESS_WATCH: Duration = Duration::from_millis(100);

/// The status code and body of a GET.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream =
        TcpStream::connect(address).unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
    stream.set_read_timeout(Some(HANG_AFTER)).expect("the option is known");
    // Version 1.0: the body is all that comes until the connection ends.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("the request is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (status, body.to_owned())
}

/// All samples at `/metrics`, by name and labels as they are written there.
///
/// # Panics
/// When it does not answer 200 with samples.
#[must_use]
pub fn metrics(address: &str) -> BTreeMap<String, f64> {
    let (status, body) = get(address, "/metrics");
    assert_eq!(status, 200, "{body}");
    let samples = body.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("not a number: {line}")))
    });
    samples.collect()
}

/// Waits until `/readyz` answers with this status, and gives what it says.
///
/// # Panics
/// When it never does.
pub fn wait_for_readiness(address: &str, status: u16) -> String {
    let deadline = Deadline::start();
    loop {
        let (found, said) = get(address, "/readyz");
        if found == status {
            return said;
        }
        deadline.check(&format!("readiness is {status}; it is {found}: {said}"));
        thread::sleep(READINESS_POLL);
    }
}

/// Watches that `/readyz` answers with this status until a moment, and does something else at each look.
///
/// # Panics
/// When it answers with another one.
pub fn readiness_stays(address: &str, status: u16, until: Instant, mut each_look: impl FnMut()) {
    while Instant::now() < until {
        let (found, said) = get(address, "/readyz");
        assert_eq!(found, status, "{said}");
        each_look();
        thread::sleep(READINESS_WATCH);
    }
}

/// Looks at a broker's readiness while something else happens to it.
#[derive(Debug)]
pub struct ReadinessWatch {
    stop: mpsc::Sender<()>,
    watching: JoinHandle<Vec<ReadinessLook>>,
}

/// What the admin port said of the readiness at one moment, both ways of asking.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadinessLook {
    /// The status of `/readyz`.
    pub status: u16,
    /// Its body.
    pub said: String,
    /// `tidegate_ready` at `/metrics`, a moment later.
    pub figure: f64,
}

impl ReadinessWatch {
    /// Begins to look.
    #[must_use]
    pub fn start(address: &str) -> Self {
        let (address, (stop, stopped)) = (address.to_owned(), mpsc::channel());
        let watching = thread::spawn(move || {
            let mut looks = Vec::new();
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(READINESS_WATCH) {
                looks.push(readiness(&address));
            }
            looks
        });
        Self { stop, watching }
    }

    /// All looks so far, oldest first.
    ///
    /// # Panics
    /// When one of them was not answered.
    #[must_use]
    pub fn stop(self) -> Vec<ReadinessLook> {
        drop(self.stop);
        self.watching.join().expect("each look is answered")
    }
}

/// One look.
///
/// # Panics
/// When it is not answered.
#[must_use]
pub fn readiness(address: &str) -> ReadinessLook {
    let (status, said) = get(address, "/readyz");
    ReadinessLook { status, said, figure: metrics(address)["tidegate_ready"] }
}
