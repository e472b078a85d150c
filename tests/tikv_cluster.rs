//! A cluster that speaks TiKV's protocol, for tests: a real Placement Driver and one store (`tikv-cluster/README.md`
//! says what it can show), on free ports and in a fresh directory. Or a real cluster, if `TIDEGATE_TEST_PD` names one.
//!
//! Always: the processes of a cluster are gone when it is dropped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use crate::certificates::Certificate;
use crate::kept_port::KeptPort;
use crate::tcp_proxy::TcpProxy;
use crate::tikv_process::TikvProcess;

/// Where a test's data is, and what can be done to it.
#[derive(Debug)]
pub enum TikvCluster {
    /// Processes of this test.
    Own(Box<OwnCluster>),
    /// The cluster that `TIDEGATE_TEST_PD` names: `HOST:PORT[,HOST:PORT...]`.
    Named(String),
}

/// A Placement Driver and a store that this test started, and can stop.
#[derive(Debug)]
pub struct OwnCluster {
    // Before the Placement Driver: the store is to end first.
    store: Option<TikvProcess>,
    store_port: KeptPort,
    proxy: TcpProxy,
    pd: Option<TikvProcess>,
    pd_port: KeptPort,
    pd_peer_port: KeptPort,
    region_mb: u32,
    tls: Option<Certificate>,
    /// Where the Placement Driver and the store are reached with TLS, if something else speaks it for them.
    fronts: Option<TlsFronts>,
    directory: TempDir,
}

/// What calls of the store can meet (`tikv-cluster/store/faults.go`). They are not done then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer is that the store is busy.
    Busy,
    /// There is no answer.
    Lost,
}

/// What speaks TLS in front of a cluster (`tikv-cluster/store/tls.go`).
#[derive(Debug)]
struct TlsFronts {
    _fronts: [TikvProcess; 2],
    pd_port: KeptPort,
    store_port: KeptPort,
}

impl TikvCluster {
    /// The cluster that `TIDEGATE_TEST_PD` names, or a fresh one.
    ///
    /// # Panics
    /// As [`OwnCluster::start`].
    #[must_use]
    pub fn start() -> Self {
        match std::env::var("TIDEGATE_TEST_PD") {
            Ok(pd) => Self::Named(pd),
            Err(_) => Self::Own(Box::new(OwnCluster::start())),
        }
    }

    /// The same for all cases that run at the same time, harm nothing and keep to namespaces of their own. It ends with
    /// the last of them.
    ///
    /// # Panics
    /// As [`OwnCluster::start`].
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<TikvCluster>> = Mutex::new(Weak::new());
        // Whoever comes while it starts waits for it.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::start());
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// For `--store`: a namespace that nobody has used.
    #[must_use]
    pub fn fresh_namespace(&self) -> String {
        let pd = match self {
            Self::Own(own) => own.pd_address(),
            Self::Named(pd) => pd.clone(),
        };
        format!("tikv://{pd}/test-{:016x}", rand::random::<u64>())
    }
}

impl OwnCluster {
    /// A fresh cluster whose regions hardly ever split.
    ///
    /// # Panics
    /// When the programs are not built (run `tests/setup`) or do not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with_regions_of(64)
    }

    /// A fresh cluster whose regions split when they hold so many MiB.
    ///
    /// # Panics
    /// As [`OwnCluster::start`].
    #[must_use]
    pub fn start_with_regions_of(region_mb: u32) -> Self {
        Self::without_a_store(region_mb).with_a_store()
    }

    /// A fresh cluster that is reached with TLS, by clients that show a certificate.
    ///
    /// # Panics
    /// As [`OwnCluster::start`].
    #[must_use]
    pub fn start_behind_tls() -> Self {
        Self::with_placement_driver(64, None, true).with_a_store()
    }

    fn with_a_store(mut self) -> Self {
        self.start_store();
        self
    }

    /// A Placement Driver alone: no store has registered with it.
    ///
    /// # Panics
    /// As [`OwnCluster::start`].
    #[must_use]
    pub fn placement_driver_only() -> Self {
        Self::without_a_store(64)
    }

    fn without_a_store(region_mb: u32) -> Self {
        Self::with_placement_driver(region_mb, None, false)
    }

    fn with_placement_driver(region_mb: u32, tls: Option<Certificate>, behind_fronts: bool) -> Self {
        let [store_port, pd_port, pd_peer_port] = [(); 3].map(|()| KeptPort::take());
        let mut cluster = Self {
            store: None,
            proxy: TcpProxy::start(store_port.address()),
            store_port,
            pd: None,
            pd_port,
            pd_peer_port,
            region_mb,
            tls,
            fronts: None,
            directory: tempfile::Builder::new()
                .prefix("tidegate-test-")
                .tempdir()
                .expect("a temporary directory"),
        };
        if behind_fronts {
            let (pd, pd_port) = cluster.spawn_front(cluster.pd_port.address());
            let (store, store_port) = cluster.spawn_front(cluster.proxy.address());
            cluster.fronts = Some(TlsFronts { _fronts: [pd, store], pd_port, store_port });
        }
        cluster.start_pd();
        cluster
    }

    /// As [`placement_driver_only`](Self::placement_driver_only), which speaks TLS alone, to clients of its authority.
    ///
    /// # Panics
    /// As [`OwnCluster::start`].
    #[must_use]
    pub fn placement_driver_with_tls(certificate: &Certificate) -> Self {
        Self::with_placement_driver(64, Some(certificate.clone()), false)
    }

    /// For `--store`: one namespace of this cluster.
    #[must_use]
    pub fn namespace(&self, name: &str) -> String {
        format!("tikv://{}/{name}", self.pd_address())
    }

    /// For `--store`: one namespace of a cluster behind TLS.
    ///
    /// # Panics
    /// When it is not behind TLS.
    #[must_use]
    pub fn tls_namespace(&self, name: &str) -> String {
        let fronts = self.fronts.as_ref().expect("the cluster was started behind TLS");
        format!("tikv://{}/{name}", fronts.pd_port.address())
    }

    /// A file of certificates or keys of a cluster behind TLS: `ca`, `client` or `stranger`, with `.pem` or `.key`.
    #[must_use]
    pub fn tls_file(&self, name: &str) -> PathBuf {
        self.path("tls").join(name)
    }

    /// Where the Placement Driver listens.
    #[must_use]
    pub fn pd_address(&self) -> String {
        self.pd_port.address().to_string()
    }

    /// What stands between every client and the store.
    #[must_use]
    pub fn proxy(&self) -> &TcpProxy {
        &self.proxy
    }

    /// Ends the store in order (SIGTERM). Killed, it would forget the locks of prewritten transactions, which a real
    /// TiKV never does.
    ///
    /// # Panics
    /// When it does not run or does not end.
    pub fn stop_store(&mut self) {
        self.store.take().expect("the store runs").terminate();
    }

    /// Starts the store, on its port and its data.
    ///
    /// # Panics
    /// When it runs or does not start.
    pub fn start_store(&mut self) {
        assert!(self.store.is_none(), "stop it first");
        self.store = self.spawn_store();
        assert!(self.store.is_some(), "the store does not start:\n{}", self.said("store"));
    }

    /// Stops the store where it is.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze_store(&self) {
        self.store.as_ref().expect("the store runs").freeze();
    }

    /// Lets the store go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw_store(&self) {
        self.store.as_ref().expect("the store runs").thaw();
    }

    /// Lets the next `count` calls of a method of the store, as `KvGet`, meet a fault, in place of what was asked for
    /// that method before. How many calls were still to meet that.
    ///
    /// # Panics
    /// When it does not run.
    pub fn next_calls(&self, method: &str, fault: Fault, count: usize) -> usize {
        let kind = match fault {
            Fault::Busy => "busy",
            Fault::Lost => "lose",
        };
        let store = self.store.as_ref().expect("the store runs");
        store.ask(&format!("{kind} {method} {count}")).parse().expect("a count of calls")
    }

    /// Ends the Placement Driver in order.
    ///
    /// # Panics
    /// When it does not run or does not end.
    pub fn stop_pd(&mut self) {
        self.pd.take().expect("the Placement Driver runs").terminate();
    }

    /// Starts the Placement Driver, on its ports and its data.
    ///
    /// # Panics
    /// When it runs or does not start.
    pub fn start_pd(&mut self) {
        assert!(self.pd.is_none(), "stop it first");
        self.pd = self.spawn_pd();
        assert!(self.pd.is_some(), "the Placement Driver does not start:\n{}", self.said("pd"));
    }

    /// Stops the Placement Driver where it is: it keeps its connections and answers nothing.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze_pd(&self) {
        self.pd.as_ref().expect("the Placement Driver runs").freeze();
    }

    /// Lets the Placement Driver go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw_pd(&self) {
        self.pd.as_ref().expect("the Placement Driver runs").thaw();
    }

    /// How many regions the Placement Driver knows.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn regions(&self) -> u64 {
        let (status, body) = crate::admin_http::get(&self.pd_address(), "/pd/api/v1/stats/region");
        assert_eq!(status, 200, "{body}");
        let stats: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        stats["count"].as_u64().expect("a count of regions")
    }

    /// The version up to which the Placement Driver lets old versions go.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn safe_point(&self) -> u64 {
        let (status, body) = crate::admin_http::get(&self.pd_address(), "/pd/api/v1/gc/safepoint");
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        answer["gc_safe_point"].as_u64().expect("a safe point")
    }

    fn spawn_pd(&self) -> Option<TikvProcess> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut arguments = vec![
            "--name=pd1".to_owned(),
            format!("--data-dir={}", self.path("pd").display()),
            format!("--client-urls={scheme}://{}", self.pd_address()),
            format!("--advertise-client-urls={scheme}://{}", self.advertised_pd()),
            format!("--peer-urls={scheme}://{}", self.pd_peer_port.address()),
            format!("--log-file={}", self.path("pd.log").display()),
            "--log-level=warn".to_owned(),
        ];
        if let Some(tls) = &self.tls {
            arguments.push(format!("--cacert={}", tls.authority.display()));
            arguments.push(format!("--cert={}", tls.certificate.display()));
            arguments.push(format!("--key={}", tls.key.display()));
        }
        TikvProcess::start("pd", &arguments, &self.path("pd.stderr"))
    }

    fn spawn_store(&self) -> Option<TikvProcess> {
        let arguments = [
            format!("-pd={}", self.advertised_pd()),
            format!("-addr={}", self.store_port.address()),
            format!("-advertise-addr={}", self.advertised_store()),
            format!("-data-dir={}", self.path("store").display()),
            format!("-region-mb={}", self.region_mb),
        ];
        TikvProcess::start("store", &arguments, &self.path("store.stderr"))
    }

    fn spawn_front(&self, target: SocketAddr) -> (TikvProcess, KeptPort) {
        let port = KeptPort::take();
        let arguments = [
            format!("-tls-dir={}", self.path("tls").display()),
            format!("-addr={}", port.address()),
            format!("-tls-target={target}"),
        ];
        let front = TikvProcess::start("store", &arguments, &self.path("front.stderr"));
        (front.unwrap_or_else(|| panic!("the front does not start:\n{}", self.said("front"))), port)
    }

    fn advertised_pd(&self) -> SocketAddr {
        self.fronts.as_ref().map_or(self.pd_port.address(), |fronts| fronts.pd_port.address())
    }

    fn advertised_store(&self) -> SocketAddr {
        self.fronts.as_ref().map_or(self.proxy.address(), |fronts| fronts.store_port.address())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn said(&self, program: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{program}.stderr"))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// Where its Placement Driver and its store are; nobody else comes there for as long as this is held.
    fn ports(cluster: &OwnCluster) -> [KeptPort; 2] {
        [cluster.pd_port.clone(), cluster.store_port.clone()]
    }

    fn are_left(ports: [KeptPort; 2]) {
        for port in ports {
            TcpStream::connect(port.address()).expect_err("nobody listens any more");
        }
    }

    #[test]
    fn a_cluster_starts_stops_and_leaves_nothing_behind() {
        let mut cluster = OwnCluster::start();
        let ports = ports(&cluster);
        let store = ports[1].address();
        assert!(cluster.regions() >= 1);
        cluster.stop_store();
        TcpStream::connect(store).expect_err("nobody listens any more");
        cluster.start_store();
        TcpStream::connect(store).expect("it listens again");
        cluster.stop_pd();
        cluster.start_pd();
        cluster.freeze_pd();
        // Frozen as it is, it goes too.
        drop(cluster);
        are_left(ports);
    }

    #[test]
    fn a_cluster_is_gone_after_a_panic() {
        let (tell, told) = std::sync::mpsc::channel();
        let panicked = std::thread::spawn(move || {
            let cluster = OwnCluster::start();
            tell.send(ports(&cluster)).expect("it is heard");
            panic!("as a test that fails does, on purpose");
        });
        panicked.join().expect_err("it panicked");
        are_left(told.recv().expect("the cluster had started"));
    }
}
