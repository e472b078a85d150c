//! Certificates for a test: those of a cluster, of a client that it admits, and of a stranger. Made by `openssl`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// One party's files (PEM).
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The authority that the party trusts.
    pub authority: PathBuf,
    /// Its certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The certificates of a cluster, in a directory that is gone when they are dropped.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// New ones.
    ///
    /// # Panics
    /// When `openssl` is missing or refuses.
    #[must_use]
    pub fn make() -> Self {
        let directory =
            tempfile::Builder::new().prefix("tidegate-test-").tempdir().expect("a temporary directory");
        let made = Self { directory };
        for authority in ["cluster", "other"] {
            made.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {authority}-ca.key -out \
                 {authority}-ca.pem -days 2 -subj /CN={authority}"
            ));
        }
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n";
        std::fs::write(made.path("names"), names).expect("the file is written");
        for (authority, name) in [("cluster", "server"), ("cluster", "client"), ("other", "stranger")] {
            made.openssl(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.csr -subj \
                 /CN={name}"
            ));
            made.openssl(&format!(
                "x509 -req -in {name}.csr -CA {authority}-ca.pem -CAkey {authority}-ca.key -CAcreateserial -days 2 -out \
                 {name}.pem -extfile names"
            ));
        }
        made
    }

    /// Of the cluster's servers.
    #[must_use]
    pub fn server(&self) -> Certificate {
        self.of("server")
    }

    /// Of a client that the cluster admits.
    #[must_use]
    pub fn client(&self) -> Certificate {
        self.of("client")
    }

    /// Of a client whose authority the cluster does not know.
    #[must_use]
    pub fn stranger(&self) -> Certificate {
        self.of("stranger")
    }

    fn of(&self, name: &str) -> Certificate {
        Certificate {
            authority: self.path("cluster-ca.pem"),
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let run = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl can be run; tests/setup installs it");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
}

impl Certificate {
    /// For `tidegate serve`.
    #[must_use]
    pub fn arguments(&self) -> [&str; 6] {
        fn text(path: &Path) -> &str {
            path.to_str().expect("a temporary path is plain")
        }
        let (ca, cert, key) = (text(&self.authority), text(&self.certificate), text(&self.key));
        ["--tikv-tls-ca", ca, "--tikv-tls-cert", cert, "--tikv-tls-key", key]
    }
}
