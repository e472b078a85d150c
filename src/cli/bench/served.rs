//! A broker for one row that is a process of its own: this program's `serve`, on a fresh store.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tidegate::ClientOptions;
use tidegate_broker::settings::StoreAddress;

use super::Figure;
use super::figures::memory;
use super::stage;

/// A broker that serves. It is killed if this is dropped.
pub(super) struct Served {
    process: Child,
    /// Held open: a line that the broker prints must not fail.
    _output: BufReader<ChildStdout>,
    address: String,
    _directory: tempfile::TempDir,
}

impl Served {
    pub(super) fn start(store: &StoreAddress) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("tidegate-bench-").tempdir()?;
        let store = match stage::unused(store) {
            StoreAddress::Embedded => "embedded".to_owned(),
            StoreAddress::Tikv(address) => address.to_string(),
        };
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--store", &store])
            .arg("--data-dir")
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting `serve`")?;
        let mut output = BufReader::new(process.stdout.take().context("its output")?);
        let mut first_line = String::new();
        output.read_line(&mut first_line)?;
        let address =
            first_line.strip_prefix("tidegate serves Kafka on ").and_then(|rest| rest.split(',').next());
        let address = address.with_context(|| format!("`serve` said {first_line:?}"))?.to_owned();
        Ok(Self { process, _output: output, address, _directory: directory })
    }

    pub(super) fn client(&self) -> ClientOptions {
        ClientOptions::new(&self.address)
    }

    pub(super) async fn create(&self, topic: &str, partitions: i32, delivery: &str) -> anyhow::Result<()> {
        stage::create(self.client(), topic, partitions, delivery).await
    }

    /// What it has in memory now.
    pub(super) fn resident(&self, what: impl Into<String>) -> Figure {
        memory(what, &self.process.id().to_string(), "VmRSS:")
    }

    /// The most that it has had in memory.
    pub(super) fn resident_at_most(&self, what: impl Into<String>) -> Figure {
        memory(what, &self.process.id().to_string(), "VmHWM:")
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let status = self.process.wait()?;
        anyhow::ensure!(status.success(), "`serve` ended with {status}");
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
