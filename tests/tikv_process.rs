//! One process of the test cluster: started, waited for until it says READY, frozen, ended.
//!
//! Always: the process is gone when the [`TikvProcess`] is dropped, also when it is frozen; and when the test is killed
//! so that nothing is dropped, the process ends by itself, because its standard input does.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::Deadline;
use crate::frozen::freeze;

/// Polling for the end of a process that was told to end.
const ENDED_POLL: Duration = Duration::from_millis(10);

/// A process that serves.
#[derive(Debug)]
pub struct TikvProcess {
    child: Child,
    /// Its standard input is held open for as long as the process is to run.
    talk: Mutex<Talk>,
}

/// What a process is told, and the lines that it says.
#[derive(Debug)]
struct Talk {
    input: ChildStdin,
    said: mpsc::Receiver<String>,
}

impl TikvProcess {
    /// Starts `program` of the test cluster and returns when it is ready; None if it ended instead, as it does when
    /// another process has taken one of its ports.
    ///
    /// # Panics
    /// When it is not built (run `tests/setup`), or neither ends nor becomes ready.
    #[must_use]
    pub fn start(program: &str, arguments: &[String], log: &Path) -> Option<Self> {
        let log = File::options().create(true).append(true).open(log).expect("a file for standard error");
        let path = built(program);
        let mut child = Command::new(&path)
            .arg("--until-stdin-closes")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}; run tests/setup", path.display()));
        let input = child.stdin.take().expect("standard input is piped");
        let said = lines(child.stdout.take().expect("standard output is piped"));
        let talk = Talk { input, said };
        let ready = talk.answer("READY").is_some();
        let process = Self { child, talk: Mutex::new(talk) };
        // Dropped if it ended: that reaps it.
        ready.then_some(process)
    }

    /// Writes a line to its standard input, and gives what follows DONE in the line that it answers.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask(&self, line: &str) -> String {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(talk.input, "{line}").expect("the process reads");
        talk.answer("DONE ").expect("the process answers")
    }

    /// Stops the process where it is (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Panics
    /// When the signal is not delivered.
    pub fn freeze(&self) {
        freeze(&self.child);
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Panics
    /// When the signal is not delivered.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks the process to end (SIGTERM) and returns when it has.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(mut self) {
        self.signal(Signal::TERM);
        let deadline = Deadline::start();
        while self.child.try_wait().expect("the process can be asked").is_none() {
            deadline.check("a process of the test cluster ends after SIGTERM");
            thread::sleep(ENDED_POLL);
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the signal is delivered");
    }
}

impl Drop for TikvProcess {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `tests/setup` has built a program of the test cluster.
fn built(program: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::var_os("TIDEGATE_TEST_CACHE").map_or_else(|| tests.join(".cache"), PathBuf::from);
    cache.join("tikv-cluster").join(program)
}

impl Talk {
    /// Waits for the line that begins so, and gives the rest of it. None if the process ends instead.
    fn answer(&self, begins: &str) -> Option<String> {
        let deadline = Deadline::start();
        loop {
            match self.said.recv_timeout(deadline.remaining()) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(begins) {
                        return Some(rest.to_owned());
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("a process of the test cluster does not say {begins}")
                }
            }
        }
    }
}

/// Reads lines behind the scenes, so that the process never blocks on a full pipe.
fn lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (say, said) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody hears it once the process is dropped.
            let _ = say.send(line);
        }
    });
    said
}
