//! A backend that speaks HTTP/2, in the clear or over TLS, and does what the path says.
//!
//! `/held…` is answered once the test lets go, `/cut` breaks off in the middle, `/refused` is not
//! looked at the first time, `/leaving` is answered and the connection is on its way out, `/early` is answered
//! before its body has come, which nobody reads; `/deaf` too, and its client is not told that nobody does, nor
//! is `/deaf/long` ever answered whole. `/events…` is answered with short events for as long as there is room.
//! Anything else is answered `hello`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::gate::Board;

/// What a backend has seen.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub connections: usize,
    /// Targets, in the order of arrival.
    pub targets: Vec<String>,
    /// What each was told of who asks: names and values of the fields that proxies write, sorted.
    pub told: Vec<Vec<(String, String)>>,
    /// Requests that are being held now.
    pub held: usize,
    /// Requests that the client took back while they were held, or nobody read them.
    pub taken_back: usize,
    /// Answers for which there has been no room for a while.
    pub stuck: usize,
}

/// A backend that speaks HTTP/2.
pub struct H2Backend {
    pub address: SocketAddr,
    is_tls: bool,
    log: Arc<Board<Log>>,
    holds: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Hall {
    log: Arc<Board<Log>>,
    holds: watch::Receiver<bool>,
    streams: u32,
}

impl H2Backend {
    /// Starts a backend that takes this many streams a connection.
    pub fn start(tls: Option<ServerConfig>, streams: u32) -> Self {
        let (holds, held) = watch::channel(true);
        let (stop, mut stopping) = watch::channel(false);
        let log = Arc::<Board<Log>>::default();
        let hall = Hall {
            log: Arc::clone(&log),
            holds: held,
            streams,
        };
        let is_tls = tls.is_some();
        let acceptor = tls.map(|mut config| {
            config.alpn_protocols = vec![b"h2".to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let accept = async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                hall.log.change(|log| log.connections += 1);
                tokio::spawn(welcome(socket, acceptor.clone(), hall.clone()));
            }
        };
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept => {}
                    _ = stopping.changed() => {}
                }
            });
        });
        Self {
            address,
            is_tls,
            log,
            holds,
            stop,
            thread: Some(thread),
        }
    }

    /// Its address, as a config wants it.
    pub fn url(&self) -> String {
        if self.is_tls {
            return format!("https://localhost:{}", self.address.port());
        }
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> Log {
        self.log.read(Clone::clone)
    }

    /// Waits for a fact.
    pub fn wait_for(&self, what: &str, fact: impl Fn(&Log) -> bool) {
        self.log.wait_until(what, |log| fact(log).then_some(()));
    }

    /// Answers everything that is held, now and later.
    pub fn let_go(&self) {
        self.holds.send_replace(false);
    }
}

impl Drop for H2Backend {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _unused = thread.join();
        }
    }
}

async fn welcome(socket: TcpStream, acceptor: Option<TlsAcceptor>, hall: Hall) {
    // Whatever goes wrong here shows in what the gateway answers.
    match acceptor {
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(socket).await {
                serve(stream, hall).await;
            }
        }
        None => serve(socket, hall).await,
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, hall: Hall) {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(hall.streams)
        // It minds no short pieces.
        .data_frame_budget(1 << 30);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else {
        return;
    };
    let mut refused = HashSet::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let target = request.uri().path().to_owned();
        let fields = request.headers().iter();
        let told = fields.filter(|(name, _)| name.as_str().starts_with("x-forwarded"));
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let told = told.map(|(name, value)| (name.to_string(), text(value)));
        let mut told: Vec<_> = told.collect();
        told.sort();
        hall.log.change(|log| {
            log.targets.push(target.clone());
            log.told.push(told);
        });
        if target.starts_with("/refused") && refused.insert(target.clone()) {
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        if target == "/leaving" {
            connection.graceful_shutdown();
        }
        tokio::spawn(answer(request, respond, hall.clone()));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, hall: Hall) {
    let target = request.uri().path().to_owned();
    let mut body = request.into_body();
    let is_deaf = target.starts_with("/deaf");
    while target != "/early"
        && !is_deaf
        && let Some(Ok(piece)) = body.data().await
    {
        let _unused = body.flow_control().release_capacity(piece.len());
    }
    if target.starts_with("/held") && !hold(&mut respond, hall.clone()).await {
        return;
    }
    let Ok(mut stream) = respond.send_response(Response::new(()), false) else {
        return;
    };
    if target.starts_with("/events") {
        tell_events(stream, &hall).await;
        return;
    }
    if target == "/cut" {
        let _unused = stream.send_data(Bytes::from_static(b"half"), false);
        tokio::task::yield_now().await;
        stream.send_reset(Reason::INTERNAL_ERROR);
        return;
    }
    let _unused = stream.send_data(Bytes::from_static(b"hello"), target != "/deaf/long");
    if is_deaf {
        // The client is given no more room.
        while let Some(Ok(_)) = body.data().await {}
        let taken_back = !body.is_end_stream();
        hall.log
            .change(|log| log.taken_back += usize::from(taken_back));
    }
}

/// Sends events, each in a frame of its own, until nobody wants them.
async fn tell_events(mut stream: SendStream<Bytes>, hall: &Hall) {
    const EVENT: &[u8] = b"data: 1234567890..\n\n";
    let mut is_stuck = false;
    loop {
        stream.reserve_capacity(EVENT.len());
        while stream.capacity() < EVENT.len() {
            let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
            match tokio::time::timeout(Duration::from_millis(500), room).await {
                Ok(Some(Ok(_))) => {}
                Ok(_) => return,
                Err(_) if is_stuck => {}
                Err(_) => {
                    is_stuck = true;
                    hall.log.change(|log| log.stuck += 1);
                }
            }
        }
        if stream.send_data(Bytes::from_static(EVENT), false).is_err() {
            return;
        }
    }
}

/// Holds an answer until the test lets go; whether the client still wants it.
async fn hold(respond: &mut SendResponse<Bytes>, mut hall: Hall) -> bool {
    hall.log.change(|log| log.held += 1);
    let wanted = tokio::select! {
        _ = hall.holds.wait_for(|holds| !holds) => true,
        _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => false,
    };
    hall.log.change(|log| {
        log.held -= 1;
        log.taken_back += usize::from(!wanted);
    });
    wanted
}
