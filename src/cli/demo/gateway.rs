//! The demo's gateway: the real one, in this process, with a config made for the moment and
//! state that is thrown away.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::{AppError, Before, Gateway, Running};
use crate::cli::failure::{Exit, Failure};
use crate::config::{self, Config, Process};

/// The route that agents call.
pub(super) const ROUTE: &str = "search";
/// The version that is trusted.
pub(super) const STABLE: &str = "search-v1";
/// The version that is shipped.
pub(super) const CANDIDATE: &str = "search-v2";

/// Where the gateway listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// For traffic.
    pub(super) traffic: u16,
    /// For the admin API.
    pub(super) admin: u16,
}

impl Ports {
    /// The ports that were asked for, else the usual ones where they are free, else any.
    pub(super) fn choose(traffic: Option<u16>, admin: Option<u16>) -> Self {
        Self {
            traffic: traffic.unwrap_or_else(|| free_or_any(8080)),
            admin: admin.unwrap_or_else(|| free_or_any(9900)),
        }
    }
}

fn free_or_any(port: u16) -> u16 {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => port,
        Err(_) => 0,
    }
}

/// The gateway, running. Stops at once when this is dropped.
#[derive(Debug)]
pub(super) struct Started(Running);

impl Started {
    /// Where it takes traffic.
    ///
    /// # Errors
    /// Never, since the config has a listener.
    pub(super) fn traffic(&self) -> Result<SocketAddr, Failure> {
        let first = self.0.listener_addresses().first().copied();
        first.ok_or_else(|| Failure::new(Exit::Error, "the gateway does not listen"))
    }

    /// Where its admin API is.
    ///
    /// # Errors
    /// Never, since the config names a port.
    pub(super) fn admin(&self) -> Result<SocketAddr, Failure> {
        let port = self.0.admin_address().port();
        port.ok_or_else(|| Failure::new(Exit::Error, "the admin API has no port"))
    }
}

/// Starts a gateway in this process; nobody watches its file, which does not exist.
///
/// # Errors
/// When a port is taken, or there are no threads to be had.
pub(super) fn start(config: Config) -> Result<Started, Failure> {
    let gateway = Gateway {
        config,
        watch: None,
        before: Before::Nobody,
    };
    let refused = |error: AppError| {
        Failure::new(Exit::Error, "cannot start the gateway")
            .because(&error)
            .mend("--port and --admin-port choose other ports")
    };
    gateway.start().map(Started).map_err(refused)
}

/// A folder that only this user can read, and that is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes one where temporary files go.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new() -> Result<Self, Failure> {
        let mut random = [0; 8];
        let number = match getrandom::fill(&mut random) {
            Ok(()) => u64::from_le_bytes(random),
            // A name that is taken is an error below, not a danger.
            Err(_) => 0,
        };
        let name = format!("switchback-demo-{}-{number:016x}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| {
                Failure::new(
                    Exit::Error,
                    format!("cannot make the folder {}", path.display()),
                )
                .because(&error)
                .mend("TMPDIR names another place for it")
            })?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in a folder for such things.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The config of a gateway before these two servers.
///
/// # Errors
/// Never, unless the template is wrong.
pub(super) fn config(
    ports: Ports,
    servers: &[SocketAddr],
    stage: Duration,
    folder: &Path,
) -> Result<Config, Failure> {
    let endpoint = |place: usize| {
        servers
            .get(place)
            .map(|address| format!("http://{address}"))
            .unwrap_or_default()
    };
    let (traffic, admin) = (ports.traffic, ports.admin);
    let stage = humantime::format_duration(stage);
    // JSON's strings are YAML's, so any folder's name fits.
    let kept = serde_json::json!(folder.join("state"));
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:{traffic} }}]
admin: {{ address: 127.0.0.1:{admin} }}
state: {{ file: {kept} }}
limits: {{ drain: 1s }}
backends:
  {STABLE}: {{ endpoints: [\"{}\"] }}
  {CANDIDATE}: {{ endpoints: [\"{}\"] }}
routes:
  - name: {ROUTE}
    match: {{ path: /mcp }}
    protocol: mcp
    split: {{ {STABLE}: 100, {CANDIDATE}: 0 }}
    plan: quick
plans:
  quick:
    warmup: {stage}
    stages:
      - {{ percent: 20, for: {stage} }}
      - {{ percent: 40, for: {stage} }}
      - {{ percent: 60, for: {stage} }}
",
        endpoint(0),
        endpoint(1),
    );
    let path = folder.join("switchback.yaml");
    config::parse(&path, &text, &Process::new(folder)).map_err(|found| {
        Failure::new(Exit::Error, "the demo's own config is refused").because(&found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_valid_and_the_folder_goes_away() {
        let folder = Folder::new().unwrap();
        let servers = [([127, 0, 0, 1], 3001).into(), ([127, 0, 0, 1], 3002).into()];
        let ports = Ports {
            traffic: 0,
            admin: 0,
        };

        let config = config(ports, &servers, Duration::from_millis(8333), folder.path()).unwrap();

        assert_eq!(config.spec().backends.len(), 2);
        assert!(config.state_folder().starts_with(folder.path()));
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_port_that_is_taken_is_not_chosen() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();

        assert_eq!(free_or_any(taken.local_addr().unwrap().port()), 0);
    }
}
