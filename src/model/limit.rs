//! The bounds that clients run into, under the names that the file has for them.

/// A bound that a client ran into.
///
/// Each is counted under its name in the file, so that whoever reads the metric knows what to
/// change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As many connections were open as may be.
    Connections,
    /// As many requests were under way as may be.
    Requests,
    /// A client had as many connections as it may have.
    ConnectionsPerClient,
    /// Clients left as much unread as they may.
    BufferedBytes,
    /// A client had as many event streams open as it may have.
    StreamsPerClient,
    /// A session had more event streams open than it may have.
    StreamsPerSession,
    /// Nothing came before the first byte was due.
    FirstByte,
    /// A TLS handshake was not complete in time.
    TlsHandshake,
    /// A head was not complete in time.
    RequestHead,
    /// A head was too long.
    RequestHeadBytes,
    /// A head had too many fields.
    RequestFields,
    /// A body paused for too long.
    BodyStall,
    /// A body came too slowly.
    BodyRate,
    /// A body was too long for its route.
    MaxBody,
    /// What was sent was not read in time.
    ClientRead,
    /// What was sent was read too slowly.
    ReadRate,
    /// A client whose connection is over was still there, or still sending, after a while.
    Linger,
    /// A client whose connection is over went on sending.
    LingerBytes,
    /// An HTTP/2 connection sent too much that brought nothing forward.
    Http2ControlFrames,
    /// An HTTP/2 connection took too many streams back.
    Http2Resets,
}

impl Limit {
    /// Every bound.
    pub const ALL: &[Self] = &[
        Self::Connections,
        Self::Requests,
        Self::ConnectionsPerClient,
        Self::BufferedBytes,
        Self::StreamsPerClient,
        Self::StreamsPerSession,
        Self::FirstByte,
        Self::TlsHandshake,
        Self::RequestHead,
        Self::RequestHeadBytes,
        Self::RequestFields,
        Self::BodyStall,
        Self::BodyRate,
        Self::MaxBody,
        Self::ClientRead,
        Self::ReadRate,
        Self::Linger,
        Self::LingerBytes,
        Self::Http2ControlFrames,
        Self::Http2Resets,
    ];

    /// The metric that counts them, by the label `limit`.
    pub const METRIC: &str = "switchback_limits_hit_total";

    /// The bound's name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::ConnectionsPerClient => "connections_per_client",
            Self::BufferedBytes => "buffered_bytes",
            Self::StreamsPerClient => "streams_per_client",
            Self::StreamsPerSession => "streams_per_session",
            Self::FirstByte => "first_byte",
            Self::TlsHandshake => "tls_handshake",
            Self::RequestHead => "request_head",
            Self::RequestHeadBytes => "request_head_bytes",
            Self::RequestFields => "request_fields",
            Self::BodyStall => "body_stall",
            Self::BodyRate => "body_rate",
            Self::MaxBody => "max_body",
            Self::ClientRead => "client_read",
            Self::ReadRate => "read_rate",
            Self::Linger => "linger",
            Self::LingerBytes => "linger_bytes",
            Self::Http2ControlFrames => "http2_control_frames",
            Self::Http2Resets => "http2_resets",
        }
    }

    /// Counts that a client ran into it.
    pub fn hit(self) {
        metrics::counter!(Self::METRIC, "limit" => self.as_str()).increment(1);
    }
}
