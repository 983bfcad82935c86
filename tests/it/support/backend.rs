//! A backend that does what a script says, real on the wire: HTTP/1.1 written by hand, so that a
//! script can also do what no server library would.

use std::io::BufReader;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};

use socket2::SockRef;

pub use super::exchange::{Exchange, Request};
use super::gate::Board;
use super::ports::{ReservedPort, reserve};

/// What a backend does with each request.
pub type Script = dyn Fn(&mut Exchange) + Send + Sync;

/// A scripted backend on a port of its own; it stops when it is dropped.
pub struct Backend {
    pub address: SocketAddr,
    script: Arc<RwLock<Arc<Script>>>,
    recorder: Recorder,
    acceptor: Option<(TcpListener, JoinHandle<()>)>,
    /// Keeps the port from other tests for as long as connections to it have to be refused.
    _port: Option<ReservedPort>,
}

impl Backend {
    /// Starts a backend; each request gets its own call of the script, on its connection's thread.
    pub fn start(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script)
    }

    /// The same on a given address, such as that of a backend which was stopped before; port 0
    /// stands for any.
    pub fn start_at(
        address: SocketAddr,
        script: impl Fn(&mut Exchange) + Send + Sync + 'static,
    ) -> Self {
        let port = (address.port() == 0).then(reserve);
        let address = port.as_ref().map_or(address, |port| port.address);
        let listener = TcpListener::bind(address).expect("binding a backend");
        let mut backend = Self {
            address,
            script: Arc::new(RwLock::new(Arc::new(script))),
            recorder: Recorder::default(),
            acceptor: None,
            _port: port,
        };
        let (script, recorder) = (Arc::clone(&backend.script), backend.recorder.clone());
        let accepting = listener.try_clone().expect("the listener again");
        let acceptor = thread::spawn(move || {
            for stream in accepting.incoming().map_while(Result::ok) {
                let connection = recorder.connected(&stream);
                let (script, recorder) = (Arc::clone(&script), recorder.clone());
                thread::spawn(move || serve(stream, connection, &script, &recorder));
            }
        });
        backend.acceptor = Some((listener, acceptor));
        backend
    }

    /// A backend that gives every request the same plain answer.
    pub fn fixed(status: u16, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |exchange| {
            exchange.read_body();
            exchange.answer(status, &[("content-type", "text/plain")], &body);
        })
    }

    /// `http://address`, as configs want it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every request gets this script.
    pub fn change(&self, script: impl Fn(&mut Exchange) + Send + Sync + 'static) {
        *self.script.write().unwrap() = Arc::new(script);
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.recorder.0.read(|log| log.requests.clone())
    }

    /// Waits until at least this many requests have arrived (their heads), and returns them.
    pub fn wait_for_requests(&self, count: usize) -> Vec<Request> {
        self.recorder
            .0
            .wait_until(&format!("{count} requests at {}", self.address), |log| {
                (log.requests.len() >= count).then(|| log.requests.clone())
            })
    }

    /// Waits until `fact` finds what it wants in the requests so far, their bodies included.
    pub fn wait_for<R>(&self, what: &str, mut fact: impl FnMut(&[Request]) -> Option<R>) -> R {
        self.recorder.0.wait_until(what, |log| fact(&log.requests))
    }

    /// Connections that were ever opened.
    pub fn connections(&self) -> usize {
        self.recorder.0.read(|log| log.connections)
    }

    /// Waits until at least this many connections were opened.
    pub fn wait_for_connections(&self, count: usize) {
        let what = format!("{count} connections to {}", self.address);
        self.recorder
            .0
            .wait_until(&what, |log| (log.connections >= count).then_some(()));
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.recorder.0.read(|log| log.open.len())
    }

    /// Closes every connection, and waits until it is so.
    pub fn hang_up(&self) {
        let closed = self.recorder.0.change(|log| {
            let closed: Vec<usize> = log.open.iter().map(|(number, _)| *number).collect();
            for (_, stream) in &log.open {
                let _unused = stream.shutdown(Shutdown::Both);
            }
            closed
        });
        self.recorder.0.wait_until("connections to close", |log| {
            let is_open = |number: &usize| log.open.iter().any(|(open, _)| open == number);
            (!closed.iter().any(is_open)).then_some(())
        });
    }

    /// Waits until at most this many connections are open.
    pub fn wait_for_open_connections(&self, at_most: usize) {
        self.recorder.0.wait_until("connections to close", |log| {
            (log.open.len() <= at_most).then_some(())
        });
    }

    /// Dies as a killed process does: every connection ends, new ones are refused.
    pub fn stop(&mut self) {
        self.stop_but(|_| false);
    }

    /// The same, but what a GET is answered on goes on.
    pub fn stop_but_streams(&mut self) {
        self.stop_but(|request| request.method == "GET");
    }

    fn stop_but(&mut self, spared: fn(&Request) -> bool) {
        let Some((listener, acceptor)) = self.acceptor.take() else {
            return;
        };
        // Not only closed: a process that another test is about to start has it for a moment, too.
        SockRef::from(&listener)
            .shutdown(Shutdown::Both)
            .expect("a listener");
        let _unused = acceptor.join();
        self.recorder.0.read(|log| {
            for (connection, stream) in &log.open {
                let current = log.current.iter().find(|(c, _)| c == connection);
                if !current.is_some_and(|(_, index)| spared(&log.requests[*index])) {
                    let _unused = stream.shutdown(Shutdown::Both);
                }
            }
        });
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(stream: TcpStream, connection: usize, script: &RwLock<Arc<Script>>, recorder: &Recorder) {
    stream.set_nodelay(true).unwrap();
    let mut next = Some(BufReader::new(stream));
    while let Some(stream) = next {
        let Ok(Some(mut exchange)) = Exchange::read(stream, connection, recorder.clone()) else {
            break;
        };
        let script = Arc::clone(&script.read().unwrap());
        script(&mut exchange);
        next = exchange.into_next();
    }
    recorder.disconnected(connection);
}

/// What a backend has seen.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Board<Log>>);

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    current: Vec<(usize, usize)>,
    connections: usize,
    open: Vec<(usize, TcpStream)>,
}

impl Recorder {
    fn connected(&self, stream: &TcpStream) -> usize {
        let stream = stream.try_clone().unwrap();
        self.0.change(|log| {
            let connection = log.connections;
            log.connections += 1;
            log.open.push((connection, stream));
            connection
        })
    }

    fn disconnected(&self, connection: usize) {
        self.0
            .change(|log| log.open.retain(|(c, _)| *c != connection));
    }

    pub(super) fn arrived(&self, request: &Request) {
        self.0.change(|log| {
            log.current.retain(|(c, _)| *c != request.connection);
            log.current.push((request.connection, log.requests.len()));
            log.requests.push(request.clone());
        });
    }

    pub(super) fn grew(&self, request: &Request) {
        self.0.change(|log| {
            let found = log.current.iter().find(|(c, _)| *c == request.connection);
            if let Some(&(_, index)) = found {
                log.requests[index].body.clone_from(&request.body);
            }
        });
    }
}

/// What a test wants a [`fed`] answer to do next.
enum Feed {
    Chunk(Vec<u8>),
    Cut,
}

/// The test's end of a [`fed`] answer. Dropping it ends the body as it should end.
pub struct Feeder(SyncSender<Feed>);

impl Feeder {
    /// Writes one chunk.
    pub fn chunk(&self, bytes: impl Into<Vec<u8>>) {
        self.0.send(Feed::Chunk(bytes.into())).unwrap();
    }

    /// Writes one event.
    pub fn event(&self, data: &str) {
        self.chunk(format!("data: {data}\n\n"));
    }

    /// Closes the connection in the middle of the body.
    pub fn cut(&self) {
        self.0.send(Feed::Cut).unwrap();
    }
}

/// A script whose answer is driven by the test, chunk by chunk; and the test's end of it. One
/// answer at a time: a second request waits until the feeder of the first is dropped.
pub fn fed(content_type: &'static str) -> (Feeder, impl Fn(&mut Exchange) + Send + Sync + 'static) {
    let (feeder, feeds) = sync_channel(64);
    let feeds: Mutex<Receiver<Feed>> = Mutex::new(feeds);
    let script = move |exchange: &mut Exchange| {
        exchange.read_body();
        exchange.begin(200, &[("content-type", content_type)]);
        for feed in feeds.lock().unwrap().iter() {
            match feed {
                Feed::Chunk(bytes) => exchange.chunk(bytes),
                Feed::Cut => return exchange.cut(),
            }
        }
        exchange.end();
    };
    (Feeder(feeder), script)
}
