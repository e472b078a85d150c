//! A real Prometheus in a process of its own, and its `promtool`, as `tests/setup` unpacks them.
//!
//! Always: the process is gone when the [`Prometheus`] is dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::admin_http::get;
use crate::deadline::Deadline;
use crate::kept_port::KeptPort;

/// A Prometheus that scrapes.
pub struct Prometheus {
    process: Child,
    port: KeptPort,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts one with this configuration, in a fresh directory, and returns when it serves.
    ///
    /// # Panics
    /// When it is not there (run `tests/setup`) or does not start.
    #[must_use]
    pub fn start(configuration: &str) -> Self {
        let directory =
            tempfile::Builder::new().prefix("tidegate-test-").tempdir().expect("a temporary directory");
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, configuration).expect("the directory is writable");
        let port = KeptPort::take();
        let mut process = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={}", port.address()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run prometheus: {error}; run tests/setup"));
        let log = process.stderr.take().expect("standard error is piped");
        let (say, hear) = mpsc::channel();
        thread::spawn(move || {
            // Goes on reading to the end, so that the process never blocks on a full pipe.
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                // The receiver is gone once it serves.
                let _ = say.send(line);
            }
        });
        // Ends the process if it does not serve.
        let started = Self { process, port, _directory: directory };
        let (mut said, deadline) = (String::new(), Deadline::start());
        while let Ok(line) = hear.recv_timeout(deadline.remaining()) {
            if line.contains("Server is ready to receive web requests") {
                return started;
            }
            said += &line;
            said.push('\n');
        }
        panic!("Prometheus does not start:\n{said}");
    }

    /// The values that an expression has now.
    ///
    /// # Panics
    /// When Prometheus refuses the expression.
    #[must_use]
    pub fn query(&self, expression: &str) -> Vec<f64> {
        let data = self.ask(&format!("/api/v1/query?query={}", encode(expression)));
        let samples = data["result"].as_array().expect("a vector").iter();
        let value = |sample: &Value| sample["value"][1].as_str().and_then(|text| text.parse().ok());
        samples.map(|sample| value(sample).unwrap_or_else(|| panic!("{expression}: {sample}"))).collect()
    }

    /// The values that a label has among the series of a metric.
    ///
    /// # Panics
    /// When Prometheus refuses that.
    #[must_use]
    pub fn label_values(&self, metric: &str, label: &str) -> Vec<String> {
        let data = self.ask(&format!("/api/v1/label/{label}/values?match[]={}", encode(metric)));
        let values = data.as_array().expect("a list").iter();
        values.map(|value| value.as_str().expect("a text").to_owned()).collect()
    }

    /// What it says at a path of its API.
    ///
    /// # Panics
    /// When it refuses that.
    #[must_use]
    pub fn ask(&self, path: &str) -> Value {
        let (status, body) = get(&self.port.address().to_string(), path);
        assert_eq!(status, 200, "{path}: {body}");
        let mut answer: Value = serde_json::from_str(&body).expect("JSON");
        answer["data"].take()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `promtool` in a directory, with something on its standard input.
///
/// # Panics
/// When it does not end with code 0.
pub fn promtool(directory: &Path, arguments: &[&str], input: &str) {
    let mut process = Command::new(program("promtool"))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run promtool: {error}; run tests/setup"));
    let mut pipe = process.stdin.take().expect("standard input is piped");
    pipe.write_all(input.as_bytes()).expect("it reads its input before it writes");
    drop(pipe);
    let output = process.wait_with_output().expect("it is reaped");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
}

/// Where `tests/setup` has put a program; by its name alone if it was there already.
fn program(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::var_os("TIDEGATE_TEST_CACHE").map_or_else(|| tests.join(".cache"), PathBuf::from);
    let unpacked = cache.join("prometheus/usr/bin").join(name);
    if unpacked.exists() { unpacked } else { PathBuf::from(name) }
}

/// A text as part of a URL's query.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
