//! Under a service manager: its sockets are used, and it is told how things are.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::client::{self, Raw};
use crate::support::gateway::{BINARY, Gateway};
use crate::support::routes::through;

/// Becomes the gateway, with the socket on stdin as the one that systemd passes.
const PASSING: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"";

/// A gateway whose listener's socket belongs to the test, as it would to systemd.
struct Service {
    process: Child,
    told: UnixDatagram,
    address: SocketAddr,
    _socket: TcpListener,
    _folder: tempfile::TempDir,
}

impl Service {
    /// `listens` makes of the socket's address the one in the config file.
    fn start(backend: &Backend, listens: impl Fn(SocketAddr) -> SocketAddr) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "listeners: [{{ address: \"{}\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
             state: {{ file: state }}\nworkers: 2\n{}",
            listens(address),
            through(&backend.url())
        );
        fs::write(folder.path().join("switchback.yaml"), text).unwrap();
        let told = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        told.set_read_timeout(Some(PATIENCE)).unwrap();
        let process = spawn(folder.path(), socket.try_clone().unwrap());
        Self {
            process,
            told,
            address,
            _socket: socket,
            _folder: folder,
        }
    }

    /// What the service manager is told next, signs of life left out.
    fn hear(&self) -> String {
        loop {
            let mut bytes = [0; 4096];
            let length = self.told.recv(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text != "WATCHDOG=1\n" {
                return text;
            }
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _unused = self.process.kill();
        let _unused = self.process.wait();
    }
}

fn spawn(folder: &Path, socket: TcpListener) -> Child {
    Command::new("sh")
        .args(["-c", PASSING, BINARY, "serve", "-c", "switchback.yaml"])
        .current_dir(folder)
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .env("WATCHDOG_USEC", "400000")
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn the_service_managers_socket_is_used_and_outlives_the_process() {
    let backend = Backend::fixed(200, "fine");
    let mut service = Service::start(&backend, |address| address);
    assert!(service.hear().starts_with("READY=1\n"));
    assert_eq!(client::get(service.address, "/").status, 200);

    service.signal("HUP");
    assert!(service.hear().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(service.hear().starts_with("READY=1\n"));
    service.signal("TERM");
    assert!(service.hear().starts_with("STOPPING=1\n"));
    assert!(service.process.wait().unwrap().success());

    let waits = Raw::try_connect(service.address);
    assert!(waits.is_ok(), "connections wait for the next process");
}

#[test]
fn signs_of_life_are_given_as_often_as_is_asked_for() {
    let backend = Backend::fixed(200, "fine");
    let service = Service::start(&backend, |address| address);
    let mut bytes = [0; 100];
    let mut signs = 0;

    while signs < 3 {
        let length = service.told.recv(&mut bytes).unwrap();
        signs += usize::from(&bytes[..length] == b"WATCHDOG=1\n");
    }
}

#[test]
fn a_socket_that_no_listener_names_is_a_mistake() {
    let backend = Backend::fixed(200, "fine");
    let mut service = Service::start(&backend, |_| "127.0.0.1:0".parse().unwrap());

    let mut said = String::new();
    let mut stderr = service.process.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();

    assert_eq!(service.process.wait().unwrap().code(), Some(1));
    assert!(said.contains(&service.address.to_string()), "{said}");
}

/// Ends a process that a test did not start itself.
struct Stray(String);

impl Drop for Stray {
    fn drop(&mut self) {
        let _unused = Command::new("kill").args(["-KILL", &self.0]).status();
    }
}

#[test]
fn a_signal_makes_a_process_start_its_own_successor() {
    let backend = Backend::fixed(200, "fine");
    let mut gateway = Gateway::start(&through(&backend.url()));

    gateway.signal("USR2");
    let line = gateway.wait_for_line("a successor was started");
    let (_, pid) = line.split_once("pid").unwrap();
    let digits = pid.trim_start_matches(|c: char| !c.is_ascii_digit());
    let pid = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let _successor = Stray(pid.to_owned());

    gateway.wait_for_line("took over from another process");
    assert!(gateway.wait().success(), "the first one ends");
    assert_eq!(gateway.get("/").status, 200);
}
