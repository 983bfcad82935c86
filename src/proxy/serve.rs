//! From an accepted socket to requests.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_local;

use crate::deadline::Terms;
use crate::listener::{self, CalmLimits, ClientStream, Connection, HeadBounds, Limits, Version};
use crate::model::Limit;
use crate::upstream::ClientBody;

use super::client::Peer;
use super::door::{self, Place};
use super::guard;
use super::http2;
use super::pipeline::{self, Asked, Downstream, Replied};
use super::respond;
use super::rooms::Rooms;
use super::spec::LimitsSpec;
use super::worker::{Phase, Worker};

/// How long accepting pauses after an error such as "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long handshakes that have begun may take to end when a listener closes.
const LAST_CALL: Duration = Duration::from_millis(250);
/// How many fields hyper has room for without being told a number.
const USUAL_FIELDS: usize = 100;

/// Where the requests of a listener are answered.
pub(super) type RequestRooms = Rooms<Asked, Replied>;

/// Takes the connections of the listener at `place` in until the worker is to drain; then those
/// that are at the door, and no more.
pub(super) async fn accept(
    worker: Rc<Worker>,
    (place, socket): (usize, TcpListener),
    mut phase: watch::Receiver<Phase>,
) {
    let rooms = Rc::new(Rooms::new(pipeline::answer_all));
    // Told once for as long as it lasts.
    let mut is_short = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Run) => break,
            accepted = socket.accept() => accepted,
        };
        let descriptors = worker.shared().conditions.descriptors();
        match accepted {
            Ok((socket, _)) if descriptors.is_reserved(&socket) => {
                // Nobody at this door may have the last ones.
                drop(socket);
                descriptors.fall_short();
                worker.make_room();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Ok(accepted) => {
                let room = tokio::select! {
                    biased;
                    // A drain makes no difference between those who are at the door.
                    _ = phase.wait_for(|phase| *phase != Phase::Run) => None,
                    room = Place::find(&worker) => Some(room),
                };
                is_short = false;
                admit(&worker, (place, &rooms), accepted, room);
            }
            Err(error) => {
                metrics::counter!("switchback_accept_errors_total").increment(1);
                if !is_short {
                    tracing::warn!(%error, "accepting a connection");
                }
                is_short = true;
                // Most likely files are short: idle connections hold some.
                worker.make_room();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    if phase_is_drain(&phase) {
        last_call(&worker, (place, &rooms), &socket).await;
    }
}

fn phase_is_drain(phase: &watch::Receiver<Phase>) -> bool {
    *phase.borrow() == Phase::Drain
}

/// Lets those in who are at the door, and nobody else.
async fn last_call(
    worker: &Rc<Worker>,
    (place, rooms): (usize, &Rc<RequestRooms>),
    socket: &TcpListener,
) {
    if let Err(error) = listener::turn_away(socket) {
        tracing::warn!(%error, "connections that come while the listener closes may be reset");
    }
    let let_in = async {
        while let Ok(accepted) = socket.accept().await {
            admit(worker, (place, rooms), accepted, None);
        }
    };
    // The time is always up: nobody else ends an accept.
    let _ = tokio::time::timeout(LAST_CALL, let_in).await;
    let queued = || {
        poll_fn(|cx| {
            Poll::Ready(match socket.poll_accept(cx) {
                Poll::Ready(Ok(accepted)) => Some(accepted),
                Poll::Ready(Err(_)) | Poll::Pending => None,
            })
        })
    };
    while let Some(accepted) = queued().await {
        admit(worker, (place, rooms), accepted, None);
    }
}

/// Serves a connection that is let in; `room` is free again when it ends.
fn admit(
    worker: &Rc<Worker>,
    (place, rooms): (usize, &Rc<RequestRooms>),
    (socket, peer): (TcpStream, SocketAddr),
    room: Option<Place>,
) {
    if !guard::admits_connection(&worker.view(), place, peer.ip()) {
        return;
    }
    let Some(guest) = door::let_in(worker, peer.ip()) else {
        return;
    };
    let (worker, rooms) = (Rc::clone(worker), Rc::clone(rooms));
    spawn_local(async move {
        let _held = (room, guest);
        if let Err(error) = serve(worker, (place, rooms), socket).await {
            tracing::debug!(%error, "a connection ended");
        }
    });
}

/// Keeps a connection on the worker's list for as long as it lives.
struct Entry {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.worker.leave(self.key);
    }
}

async fn serve(
    worker: Rc<Worker>,
    (place, rooms): (usize, Rc<RequestRooms>),
    socket: TcpStream,
) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let (peer, local) = (socket.peer_addr()?, socket.local_addr()?);
    let limits = worker.view().snapshot.limits.clone();
    let bounds = Limits {
        first_byte: limits.first_byte,
        tls_handshake: limits.tls_handshake,
        request_head: limits.request_head,
        head: HeadBounds {
            bytes: limits.request_head_bytes,
            fields: limits.request_fields,
        },
        keep_alive: limits.keep_alive,
        reading: Terms {
            pause: limits.client_read,
            grace: limits.client_read,
            rate: limits.read_rate,
        },
        linger: (limits.linger, limits.linger_bytes),
        calm: CalmLimits {
            control_frames: limits.http2_control_frames,
            resets: limits.http2_resets,
        },
    };
    let connection = Rc::new(Connection::new(
        (peer, local),
        (worker.deadlines(), &worker.caps().buffered),
        bounds,
    ));
    let _entry = Entry {
        key: worker.enter(&connection),
        worker: Rc::clone(&worker),
    };
    let greeted = listener::greet(socket, &connection, worker.tls(place)).await?;
    let Some((stream, version)) = greeted else {
        return Ok(());
    };
    let peer = Peer::new(peer.ip(), stream.scheme());
    let downstream = Rc::new(Downstream {
        worker,
        connection,
        peer,
        tunnel: RefCell::default(),
        repeats: Cell::default(),
    });
    match version {
        Version::Http1 => http1(stream, downstream, rooms, &limits).await,
        // Boxed: its state is several times that of HTTP/1.1, which every connection would pay for.
        Version::Http2 => {
            Box::pin(http2::serve(stream, downstream, rooms, &limits)).await;
        }
    }
    Ok(())
}

async fn http1(
    stream: ClientStream,
    downstream: Rc<Downstream>,
    rooms: Rc<RequestRooms>,
    limits: &LimitsSpec,
) {
    let connection = Rc::clone(&downstream.connection);
    let of = Rc::clone(&downstream);
    let service = service_fn(move |request: Request<Incoming>| {
        let (parts, body) = request.into_parts();
        rooms.ask((Rc::clone(&of), parts, ClientBody::Http1(body)))
    });
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_buf_size(limits.request_head_bytes);
    if limits.request_fields > USUAL_FIELDS {
        // Told a number, hyper fills a list of so many fields with nothing for each head. A lower
        // one is seen to by the stream, which counts them before.
        builder.max_headers(limits.request_fields);
    }
    let mut served = builder.serve_connection(TokioIo::new(stream), service);
    drive(
        Pin::new(&mut served),
        &connection,
        http1::Connection::graceful_shutdown,
    )
    .await;
    let tunnel = downstream.tunnel.take();
    if connection.must_reset() {
        // It may be gone already.
        let _ = served.into_parts().io.into_inner().reset();
    } else if let Some(tunnel) = tunnel {
        let parts = served.into_parts();
        Box::pin(tunnel.run(parts.io.into_inner(), parts.read_buf)).await;
    }
}

/// Counts why the parser ended a connection, where that was the client's doing.
fn count(error: &hyper::Error) {
    if error.is_parse_too_large() {
        Limit::RequestHeadBytes.hit();
    } else if error.is_parse() {
        respond::count_malformed();
    }
}

/// Runs a connection to its end, its drain or its deadline.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut served: Pin<&mut C>,
    connection: &Connection,
    drain: impl Fn(Pin<&mut C>),
) {
    let mut drains = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = served.as_mut().poll(cx) {
                if let Err(error) = ended {
                    if connection.open_requests() > 0 {
                        connection.breaks_off();
                    }
                    if !connection.is_refused() {
                        count(&error);
                    }
                }
                return Poll::Ready(());
            }
            if connection.deadline.poll_passed(cx).is_pending() {
                return Poll::Pending;
            }
            if drains || !connection.is_closing() {
                connection.expired();
                return Poll::Ready(());
            }
            drains = true;
            connection.deadline.clear();
            drain(served.as_mut());
        }
    })
    .await;
}
