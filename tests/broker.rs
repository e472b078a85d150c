//! The broker as its users have it: the real binary, in a process of its own, on a data directory of its own.
//!
//! It refuses to look inside: what a test knows of a broker comes over its sockets, its first line and its exit code.
//! Always: the process is gone when the [`Broker`] is dropped, and what it wrote on standard error is shown when the
//! test fails.
//!
//! Two variables point the same tests at something else:
//! - `TIDEGATE_TEST_BINARY`: another program with the same command line (`tests/kafka/serve` is Apache Kafka in that
//!   disguise, which shows that the tests ask nothing that Kafka would not answer);
//! - `TIDEGATE_TEST_BOOTSTRAP`: a broker that already runs, for the tests that neither kill nor restart it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use crate::deadline::{Deadline, HANG_AFTER};
use crate::frozen::freeze;
use crate::kept_port::KeptPort;
use crate::tikv_cluster::TikvCluster;

/// A broker under test.
#[derive(Debug)]
pub struct Broker {
    directory: TempDir,
    process: Option<Child>,
    /// Kafka's and that of the admin HTTP: a broker that was killed comes back where its clients look for it.
    ports: [KeptPort; 2],
    bootstrap: String,
    first_line: String,
    admin: Option<String>,
    arguments: Vec<String>,
    starts: u32,
    // After the process: it ends first.
    cluster: Option<Arc<TikvCluster>>,
}

impl Broker {
    /// Starts a broker in a fresh directory on free ports and returns when it serves.
    ///
    /// # Panics
    /// When the binary is not built, ends early or prints something else than where it serves.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Broker::start`], with more arguments for `tidegate serve`.
    ///
    /// # Panics
    /// As [`Broker::start`].
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        let directory =
            tempfile::Builder::new().prefix("tidegate-test-").tempdir().expect("a temporary directory");
        let mut broker = Self {
            directory,
            process: None,
            ports: [KeptPort::take(), KeptPort::take()],
            bootstrap: String::new(),
            first_line: String::new(),
            admin: None,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            starts: 0,
            cluster: None,
        };
        match std::env::var("TIDEGATE_TEST_BOOTSTRAP") {
            Ok(bootstrap) => broker.bootstrap = bootstrap,
            Err(_) => broker.restart(),
        }
        broker
    }

    /// Puts another directory in the place of the data directory of a broker that does not run: `prepare` makes it. What
    /// was there is kept until the broker is dropped.
    ///
    /// # Panics
    /// When it runs, or the directory cannot be moved.
    pub fn replace_data(&mut self, prepare: impl FnOnce(&Path)) {
        assert!(self.process.is_none(), "kill or terminate it first");
        let data = self.data_directory();
        let aside = self.directory.path().join(format!("data.{}", self.starts));
        fs::rename(&data, aside).expect("the directory can be moved");
        prepare(&data);
    }

    /// As [`Broker::start_with`], in a fresh namespace of a cluster, which lasts as long as the broker.
    ///
    /// # Panics
    /// As [`Broker::start`].
    #[must_use]
    pub fn start_on(cluster: Arc<TikvCluster>, arguments: &[&str]) -> Self {
        let namespace = cluster.fresh_namespace();
        let mut broker = Self::start_with(&[&patiently_on(&namespace)[..], arguments].concat());
        broker.cluster = Some(cluster);
        broker
    }

    /// `HOST:PORT` for `bootstrap.servers`; the same for the broker's whole life, restarts included.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `HOST:PORT` of the admin HTTP port.
    ///
    /// # Panics
    /// For a broker that this test did not start.
    #[must_use]
    pub fn admin(&self) -> &str {
        self.admin.as_deref().expect("this broker's admin port is known only if the test started it")
    }

    /// What it said on standard output when it began to serve.
    #[must_use]
    pub fn first_line(&self) -> &str {
        &self.first_line
    }

    /// The data directory.
    #[must_use]
    pub fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The process id while it runs.
    ///
    /// # Panics
    /// For a broker that does not run or was not started by this test.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the broker runs").id()
    }

    /// Whether the process is still there (always, for a broker that this test did not start).
    ///
    /// # Panics
    /// When the operating system cannot tell.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.process
            .as_mut()
            .is_none_or(|process| process.try_wait().expect("the process can be asked").is_none())
    }

    /// Ends the process as a power cut of the process would: SIGKILL, nothing is flushed or said.
    ///
    /// # Panics
    /// For a broker that was not started by this test.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("only a broker that this test started can be killed");
        process.kill().expect("SIGKILL is delivered");
        process.wait().expect("the killed process is reaped");
    }

    /// Asks the process to end (SIGTERM) and returns how it did.
    ///
    /// # Panics
    /// For a broker that was not started by this test, or one that does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    /// Stops the process where it is (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Panics
    /// For a broker that was not started by this test.
    pub fn freeze(&self) {
        freeze(self.process.as_ref().expect("only a broker that this test started takes signals"));
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Panics
    /// For a broker that was not started by this test.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Lets the process write no file beyond so many bytes: from then on it has a disk that fails.
    ///
    /// # Panics
    /// For a broker that was not started by this test.
    pub fn limit_file_bytes(&self, bytes: u64) {
        let process = self.process.as_ref().expect("only a broker that this test started can be limited");
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        prlimit(Some(Pid::from_child(process)), Resource::Fsize, limit).expect("a limit can be lowered");
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("only a broker that this test started takes signals");
        kill_process(Pid::from_child(process), signal).expect("the signal is delivered");
    }

    /// Waits until the process has ended by itself, and returns how it did.
    ///
    /// # Panics
    /// For a broker that was not started by this test, or one that does not end.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("only a broker that this test started can end");
        let (done, ended) = mpsc::channel();
        let waiter = thread::spawn(move || {
            let status = process.wait().expect("the process is reaped");
            // The receiver is gone only if the test has failed already.
            let _ = done.send(status);
        });
        let status = ended.recv_timeout(HANG_AFTER).expect("the broker ends");
        waiter.join().expect("the waiting thread ends");
        status
    }

    /// Starts it again on the same directory and the same ports.
    ///
    /// # Panics
    /// As [`Broker::start`], or when it still runs.
    pub fn restart(&mut self) {
        self.try_restart().unwrap_or_else(|said| panic!("the broker ended before it served:\n{said}"));
    }

    /// As [`Broker::restart`], for a broker that may refuse to start: the error is what it said on standard error.
    ///
    /// # Errors
    /// When it ends before it serves.
    ///
    /// # Panics
    /// When it still runs.
    pub fn try_restart(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "kill or terminate it first");
        self.spawn()
    }

    /// As [`Broker::restart`], with other arguments for `tidegate serve`.
    ///
    /// # Panics
    /// As [`Broker::restart`].
    pub fn restart_with(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self.restart();
    }

    /// What all its processes have written on standard error, oldest first.
    #[must_use]
    pub fn standard_error(&self) -> String {
        let read = |start| fs::read_to_string(self.standard_error_path(start)).unwrap_or_default();
        (1..=self.starts).map(read).collect()
    }

    fn standard_error_path(&self, start: u32) -> PathBuf {
        self.directory.path().join(format!("stderr.{start}.log"))
    }

    fn spawn(&mut self) -> Result<(), String> {
        self.starts += 1;
        let [listen, admin] = self.ports.each_ref().map(|port| port.address().to_string());
        let standard_error =
            File::create(self.standard_error_path(self.starts)).expect("a file for standard error");
        let mut process = serve(&self.data_directory(), &listen, &admin)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(standard_error)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run {}: {error}; build it: cargo build -p tidegate-cli", binary().display())
            });
        let line = first_line(process.stdout.take().expect("standard output is piped"));
        let Some(line) = line else {
            process.wait().expect("the process is reaped");
            return Err(fs::read_to_string(self.standard_error_path(self.starts)).unwrap_or_default());
        };
        self.process = Some(process);
        self.bootstrap = address_after(&line, " Kafka on ");
        self.admin = Some(address_after(&line, " admin on http://"));
        self.first_line = line;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself; either way it is gone after this.
            let _ = process.kill();
            let _ = process.wait();
        }
        if thread::panicking() {
            let log = self.standard_error();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(60);
            eprintln!("the broker's last lines on standard error:\n{}", lines[from..].join("\n"));
        }
    }
}

/// The arguments for a broker on a namespace of a TiKV cluster. A lease that is short: who was killed in a test is not
/// waited for any longer than needed.
#[must_use]
pub fn on(namespace: &str) -> [&str; 4] {
    ["--store", namespace, "--broker-lease-ms", "1000"]
}

/// What lets a broker on TiKV wait a minute for its store.
pub const PATIENCE: [&str; 6] =
    ["--tikv-connect-timeout-ms", "60000", "--tikv-request-timeout-ms", "60000", "--commit-max-ms", "60000"];

/// As [`on`], for all cases but those that are about giving up: what takes long because the machine is busy with other things
/// is waited for.
#[must_use]
pub fn patiently_on(namespace: &str) -> Vec<&str> {
    [&on(namespace)[..], &PATIENCE].concat()
}

/// The program under test: beside the test executables, where `cargo build -p tidegate-cli` puts it.
///
/// # Panics
/// When the test executable's own place is unknown.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDEGATE_TEST_BINARY") {
        return fs::canonicalize(&path).unwrap_or_else(|_| PathBuf::from(path));
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in <target>/<profile>/deps");
    profile.join(format!("tidegate{}", std::env::consts::EXE_SUFFIX))
}

/// The program under test, ready for arguments.
#[must_use]
pub fn tidegate() -> Command {
    let mut command = Command::new(binary());
    // What is set for the tests, or left over in a shell, are not the broker's settings.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("TIDEGATE_") && !text.starts_with("TIDEGATE_TEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// `tidegate serve` with what it cannot do without, ready for more arguments.
#[must_use]
pub fn serve(data_directory: &Path, listen: &str, admin: &str) -> Command {
    let mut command = tidegate();
    command.arg("serve").arg("--data-dir").arg(data_directory).args(["--listen", listen, "--admin", admin]);
    command
}

/// Reads the first line and goes on reading behind the scenes, so that the process never blocks on a full pipe.
fn first_line(output: impl Read + Send + 'static) -> Option<String> {
    let (said, hear) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(output).lines();
        let first = lines.next().and_then(Result::ok);
        // The receiver is gone only if the test has failed already.
        let _ = said.send(first);
        lines.for_each(drop);
    });
    let deadline = Deadline::start();
    hear.recv_timeout(deadline.remaining()).expect("the broker says that it serves")
}

fn address_after(line: &str, marker: &str) -> String {
    let (_, rest) = line
        .split_once(marker)
        .unwrap_or_else(|| panic!("the broker's first line has no {marker:?}: {line}"));
    rest.chars().take_while(|c| !c.is_whitespace() && *c != ',' && *c != '/').collect()
}
