//! Connections: accepted, bounded, ended.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::telemetry::{describe_counter, describe_gauge};
use crate::tls::PeerNames;

use super::api::{Api, Deps, REQUESTS};
use super::listen::{AdminListener, Socket};
use super::peer::Peer;
use super::stall::Stall;
use super::{audit, door, events};

/// Most connections at once; further ones are closed.
const CONNECTIONS: usize = 128;
/// Longest time for a request's head, and longest silence between two requests.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Largest head of a request.
const HEAD_BYTES: usize = 16 * 1024;
/// Most fields of a head.
const FIELDS: usize = 64;
/// Longest time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Longest wait for a peer who does not read its answer.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long open calls may take to finish once the API stops.
const DRAIN: Duration = Duration::from_millis(500);
/// Pause after the system refused to hand over a connection, most likely for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const OPEN: &str = "switchback_admin_connections_open";
const REFUSED: &str = "switchback_admin_connections_refused_total";
const HANDSHAKES_FAILED: &str = "switchback_admin_tls_handshake_failures_total";
const DENIED: &str = "switchback_admin_connections_denied_total";

/// Serves the admin API until `shutdown` is done: then no more connections are accepted, event
/// streams end, and open calls have half a second to finish.
///
/// # Errors
/// When the listener cannot be used on this runtime.
pub async fn serve(
    listener: AdminListener,
    deps: Deps,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    describe();
    let (stop, stopping) = watch::channel(false);
    let api = Arc::new(Api::new(listener.address(), deps, stopping)?);
    let socket = Listening::new(listener.into_socket())?;
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // A connection that ended; whether it panicked was counted by the hook.
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => admit(accepted, &api, &mut connections).await,
        }
        metrics::gauge!(OPEN).set(connections.len() as f64);
    }
    drop(socket);
    stop.send_replace(true);
    drain(connections).await;
    metrics::gauge!(OPEN).set(0.0);
    Ok(())
}

fn describe() {
    describe_counter(REQUESTS, "Answers of the admin API, by status");
    describe_counter(
        REFUSED,
        "Connections closed at once because too many were open",
    );
    describe_counter(
        DENIED,
        "Connections closed at once because of the address they came from",
    );
    describe_counter(
        HANDSHAKES_FAILED,
        "TLS handshakes with callers of the admin API that failed, by reason",
    );
    door::describe();
    audit::describe();
    describe_counter(
        events::LOST,
        "Events that readers missed because they were too slow",
    );
    describe_gauge(OPEN, "Open connections to the admin API");
}

/// The socket, as the runtime knows it.
enum Listening {
    Port(TcpListener),
    Path(UnixListener),
}

/// A connection that has come in.
enum Accepted {
    Port(TcpStream),
    Path(UnixStream),
}

impl Listening {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Port(socket) => Self::Port(TcpListener::from_std(socket)?),
            Socket::Path(socket) => Self::Path(UnixListener::from_std(socket)?),
        })
    }

    async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Port(socket) => {
                let (stream, remote) = socket.accept().await?;
                let peer = Peer::plain(remote, stream.local_addr()?);
                Ok((Accepted::Port(stream), peer))
            }
            Self::Path(socket) => {
                let (stream, _) = socket.accept().await?;
                let peer = Peer::user(stream.peer_cred()?.uid());
                Ok((Accepted::Path(stream), peer))
            }
        }
    }
}

async fn admit(
    accepted: io::Result<(Accepted, Peer)>,
    api: &Arc<Api>,
    connections: &mut JoinSet<()>,
) {
    match accepted {
        Ok(_) if connections.len() >= CONNECTIONS => {
            metrics::counter!(REFUSED).increment(1);
        }
        Ok((_, peer)) if !api.doors.now().admits(&peer) => {
            metrics::counter!(DENIED).increment(1);
        }
        Ok((Accepted::Port(stream), peer)) => {
            connections.spawn(connection(Arc::clone(api), stream, peer));
        }
        Ok((Accepted::Path(stream), peer)) => {
            connections.spawn(talk(Arc::clone(api), stream, peer));
        }
        Err(error) => {
            tracing::warn!(%error, "the admin API could not accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Serves one connection, over TLS where the API speaks it.
async fn connection(api: Arc<Api>, stream: TcpStream, peer: Peer) {
    // Answers are small: what is written is to leave at once.
    let _ = stream.set_nodelay(true);
    let Some(tls) = api.deps.tls.clone() else {
        return talk(api, stream, peer).await;
    };
    let shaken = tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream)).await;
    let reason = match shaken {
        Ok(Ok(stream)) => {
            let peer = peer.secured(PeerNames::of(&stream));
            tracing::debug!(%peer, names = ?peer.names, "a caller of the admin API over TLS");
            return talk(api, stream, peer).await;
        }
        Ok(Err(failure)) => failure.reason,
        Err(_) => "timeout",
    };
    metrics::counter!(HANDSHAKES_FAILED, "reason" => reason).increment(1);
    tracing::debug!(reason, %peer, "a TLS handshake with the admin API failed");
}

async fn talk<S>(api: Arc<Api>, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stopping = api.stopping.clone();
    let peer = Arc::new(peer);
    let asks = Arc::clone(&peer);
    let service = service_fn(move |request| {
        let (api, peer) = (Arc::clone(&api), Arc::clone(&asks));
        async move { Ok::<_, Infallible>(api.answer(request, &peer).await) }
    });
    let io = TokioIo::new(Stall::new(stream, WRITE_STALL));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(FIELDS)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = events::stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection to the admin API ended early");
    }
}

async fn drain(mut connections: JoinSet<()>) {
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, finished).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "calls of the admin API were cut off"
        );
        connections.shutdown().await;
    }
}
