//! The `limits` section of the file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};

/// Bounds on every connection from downstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Most open connections from downstream, 1 to 10,000,000. When they are all taken, idle ones
    /// are closed for new ones, and else new ones wait. Read at the start. Default: half of the
    /// files that the process may open, less a reserve, at most 65,536.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Most requests under way, event streams included, 1 to 10,000,000; more are answered 503.
    /// Read at the start. Default: as `connections`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Most open connections from one address, or from one /64 of IPv6, 1 to 10,000,000; more are
    /// closed at once. Read at the start. Default: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_client: Option<u32>,
    /// Most bytes of answers that are held for clients that do not read them, over all of them,
    /// 1,048,576 to 1,099,511,627,776. Past it each gets one piece at a time. Read at the start.
    /// Default 33,554,432.
    pub buffered_bytes: u64,
    /// Longest silence before a connection's first byte, 100ms to 10m. Default 10s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub first_byte: Duration,
    /// Longest time for a TLS handshake, from its first byte, 100ms to 10m. Default 10s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub tls_handshake: Duration,
    /// Longest time for a request's head, from its first byte, 100ms to 10m. Default 15s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub request_head: Duration,
    /// Largest head, in bytes, 8,192 to 1,048,576. Default 65,536.
    pub request_head_bytes: usize,
    /// Most fields in a head, 1 to 1,000. Default 100.
    pub request_fields: usize,
    /// How long an idle connection is kept between requests, 1s to 24h. Default 5m.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub keep_alive: Duration,
    /// Longest pause inside a request's body, 100ms to 1h; then it is answered 408 and the
    /// connection closed. Default 30s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub body_stall: Duration,
    /// Fewest bytes a second of a request's body while it is waited for, 0 to 1,048,576; slower
    /// ones are answered 408. 0 asks for none. Default 256.
    pub body_rate: u32,
    /// How long a request's body may take before `body_rate` is asked of it, 100ms to 10m.
    /// Default 10s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub body_grace: Duration,
    /// How long a client may leave what is sent to it unread, 1s to 1h; then its connection is
    /// closed. Default 30s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub client_read: Duration,
    /// Fewest bytes a second that a client may read while more waits for it, 0 to 1,048,576; it
    /// is asked after `client_read`. 0 asks for none. Default 256.
    pub read_rate: u32,
    /// How long a connection that is over, by an answer that says so, stays open for a client that
    /// has not closed its end or is still sending, 0s to 1m: closed at once, it would take back
    /// what the client has not read. Over HTTP/2 the same of a stream whose request is still being
    /// sent when it has its answer. Default 2s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub linger: Duration,
    /// Most bytes that are read, and ignored, in this time, 0 to 67,108,864. Default 1,048,576.
    pub linger_bytes: usize,
    /// Streams at once on an HTTP/2 connection, 1 to 1,000. Default 100.
    pub http2_streams: u32,
    /// HTTP/2 frames that bring no request and no answer forward, on one connection, 10 to
    /// 1,000,000; a tenth of it comes back each second, and answers that are read bring more. A
    /// connection that sends more is told to calm down and closed. Default 1,000.
    pub http2_control_frames: u32,
    /// HTTP/2 streams that a client takes back, on one connection, 10 to 100,000; a tenth of it
    /// comes back each second, and each answer brings one more. Default 100.
    pub http2_resets: u32,
    /// Most bytes of an MCP body that are looked at before it is passed on, 1,024 to
    /// 67,108,864. Default 1,048,576.
    pub peek_bytes: usize,
    /// How long answers and streams may go on after SIGTERM, 0s to 1h. Default 30s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub drain: Duration,
    /// How long everything goes on as before after SIGTERM, except that readiness says no: time
    /// for load balancers to look elsewhere, 0s to 10m; `drain` begins after it. Default 0s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub drain_delay: Duration,
    /// How long idle connections stay open in a drain, so that a request that is on its way is
    /// answered, and told that it is the last, 0s to 1h. Default 2s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub drain_idle: Duration,
    /// Most MCP sessions whose opening is kept for re-homing, over all routes, 0 to
    /// 10,000,000. Default 100,000.
    pub session_records: usize,
    /// Most resources that an MCP session is subscribed to and that are kept for re-homing, 0 to
    /// 10,000. Read at the start. Default 64.
    pub session_subscriptions: usize,
    /// Most event streams that one MCP session has open by GET, 1 to 10,000; when there are more,
    /// the oldest ends. Default 16.
    pub streams_per_session: u32,
    /// Most event streams that one client has open by GET and `subscriptions/listen` on MCP
    /// routes, over all of them, 1 to 10,000,000; more are answered 429. A client is whom the token
    /// stands for, else an address, or a /64 of IPv6. Read at the start. Default 16,384.
    pub streams_per_client: u32,
    /// Most callers of MCP without sessions (2026-07-28) that are held on their backend, over all
    /// routes, 0 to 10,000,000; more go by their key alone. Read at the start. Default 100,000.
    pub held_callers: usize,
    /// How long such a caller is held after their last call, 1s to 24h. Read at the start. Default
    /// 10m.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub held_idle: Duration,
    /// Most values of MCP servers (task ids, request states, cursors) that lead later calls
    /// back to the server that made them, over all routes, 0 to 10,000,000. Read at the start.
    /// Default 100,000.
    pub ties: usize,
    /// How long such a value is remembered after its last use, 1s to 24h. Read at the start.
    /// Default 1h.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub tie_idle: Duration,
    /// Most tools of a route that are counted apart, the busiest of those that are called, 0 to
    /// 1,024; the rest counts as `_other`. Default 64.
    pub tools: usize,
    /// Most bytes of an event of an MCP session over HTTP+SSE (2024-11-05) that are held until it is
    /// complete, so that no client gets half an event; a longer one is passed on as it comes, 1,024 to
    /// 16,777,216. Default 65,536.
    pub event_bytes: usize,
    /// Most calls under way in one MCP session over HTTP+SSE (2024-11-05) whose outcomes are followed,
    /// 0 to 1,000,000; more pass, uncounted. Read at the start. Default 1,000.
    pub stream_calls: usize,
    /// The same in all such sessions, 0 to 10,000,000. Read at the start. Default 100,000.
    pub stream_calls_total: usize,
    /// Most MCP sessions over HTTP+SSE (2024-11-05) that are being opened elsewhere at once, after a revert
    /// or the death of their backend, 1 to 10,000; more wait for their turn, those first whose
    /// client has sent something. Read at the start. Default 64.
    pub stream_moves: usize,
    /// How long the opening of an MCP session that nobody uses is kept, 1m to 365d. Default 7d.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub session_age: Duration,
    /// Most checked tokens that each worker remembers, so that a caller pays for one signature
    /// and not for one a request, 0 to 1,000,000. Default 10,000.
    pub checked_tokens: usize,
}

impl LimitsSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        for (field, value) in [
            ("connections", self.connections),
            ("requests", self.requests),
            ("connections_per_client", self.connections_per_client),
        ] {
            if let Some(value) = value {
                problems.number(field, value, 1..=10_000_000);
            }
        }
        problems.number("buffered_bytes", self.buffered_bytes, 1 << 20..=1 << 40);
        let soon = Duration::from_millis(100)..=Duration::from_mins(10);
        problems.duration("first_byte", self.first_byte, soon.clone());
        problems.duration("tls_handshake", self.tls_handshake, soon.clone());
        problems.duration("request_head", self.request_head, soon.clone());
        problems.number(
            "request_head_bytes",
            self.request_head_bytes,
            8 * KIB..=1024 * KIB,
        );
        problems.number("request_fields", self.request_fields, 1..=1000);
        let day = Duration::from_secs(1)..=Duration::from_hours(24);
        problems.duration("keep_alive", self.keep_alive, day);
        let hour = Duration::from_secs(1)..=Duration::from_hours(1);
        problems.duration("client_read", self.client_read, hour.clone());
        problems.number("read_rate", self.read_rate, 0..=1_048_576);
        let minute = Duration::ZERO..=Duration::from_mins(1);
        problems.duration("linger", self.linger, minute);
        problems.number("linger_bytes", self.linger_bytes, 0..=64 * 1024 * KIB);
        problems.number("http2_streams", self.http2_streams, 1..=1000);
        problems.number(
            "http2_control_frames",
            self.http2_control_frames,
            10..=1_000_000,
        );
        problems.number("http2_resets", self.http2_resets, 10..=100_000);
        let stall = Duration::from_millis(100)..=*hour.end();
        problems.duration("body_stall", self.body_stall, stall);
        problems.number("body_rate", self.body_rate, 0..=1_048_576);
        problems.duration("body_grace", self.body_grace, soon);
        problems.number("peek_bytes", self.peek_bytes, KIB..=64 * 1024 * KIB);
        problems.duration(
            "drain",
            self.drain,
            Duration::ZERO..=Duration::from_hours(1),
        );
        problems.duration(
            "drain_delay",
            self.drain_delay,
            Duration::ZERO..=Duration::from_mins(10),
        );
        problems.duration(
            "drain_idle",
            self.drain_idle,
            Duration::ZERO..=Duration::from_hours(1),
        );
        problems.number("checked_tokens", self.checked_tokens, 0..=1_000_000);
        self.add_problems_of_bonds(&mut problems);
        problems.into_vec()
    }

    fn add_problems_of_bonds(&self, problems: &mut Problems) {
        let most = 0..=10_000_000;
        problems.number("session_records", self.session_records, most.clone());
        let year = Duration::from_mins(1)..=Duration::from_hours(365 * 24);
        problems.duration("session_age", self.session_age, year);
        problems.number(
            "session_subscriptions",
            self.session_subscriptions,
            0..=10_000,
        );
        problems.number("streams_per_session", self.streams_per_session, 1..=10_000);
        problems.number(
            "streams_per_client",
            self.streams_per_client,
            1..=10_000_000,
        );
        problems.number("held_callers", self.held_callers, most.clone());
        problems.number("tools", self.tools, 0..=1024);
        problems.number("ties", self.ties, most.clone());
        problems.number("stream_calls", self.stream_calls, 0..=1_000_000);
        problems.number("stream_calls_total", self.stream_calls_total, most);
        problems.number("stream_moves", self.stream_moves, 1..=10_000);
        problems.number("event_bytes", self.event_bytes, KIB..=16 * 1024 * KIB);
        let day = Duration::from_secs(1)..=Duration::from_hours(24);
        problems.duration("held_idle", self.held_idle, day.clone());
        problems.duration("tie_idle", self.tie_idle, day);
    }
}

const KIB: usize = 1024;

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            connections: None,
            requests: None,
            connections_per_client: None,
            buffered_bytes: 32 * 1024 * 1024,
            first_byte: Duration::from_secs(10),
            tls_handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(15),
            request_head_bytes: 64 * 1024,
            request_fields: 100,
            keep_alive: Duration::from_mins(5),
            body_stall: Duration::from_secs(30),
            body_rate: 256,
            body_grace: Duration::from_secs(10),
            client_read: Duration::from_secs(30),
            read_rate: 256,
            linger: Duration::from_secs(2),
            linger_bytes: 1024 * KIB,
            http2_streams: 100,
            http2_control_frames: 1000,
            http2_resets: 100,
            peek_bytes: 1024 * 1024,
            drain: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            drain_idle: Duration::from_secs(2),
            session_records: 100_000,
            session_subscriptions: 64,
            streams_per_session: 16,
            streams_per_client: 16_384,
            held_callers: 100_000,
            held_idle: Duration::from_mins(10),
            ties: 100_000,
            tools: 64,
            tie_idle: Duration::from_hours(1),
            event_bytes: 64 * KIB,
            stream_calls: 1000,
            stream_calls_total: 100_000,
            stream_moves: 64,
            session_age: Duration::from_hours(7 * 24),
            checked_tokens: 10_000,
        }
    }
}
