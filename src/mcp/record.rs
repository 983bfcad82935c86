//! What a session was opened with: enough to open it again elsewhere.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::facts::RequestFacts;
use super::method::Method;
use super::revision::Revision;

/// What a session was opened with, and what its client asked for since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    initialize: Bytes,
    version: Box<str>,
    log_level: Option<Bytes>,
    subscriptions: Vec<Box<str>>,
}

/// Why a session cannot be recorded. It works, but cannot be re-homed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The `initialize` body is longer than [`SessionRecord::INITIALIZE_BYTES`].
    #[error(
        "the initialize request has {length} bytes, more than {}",
        SessionRecord::INITIALIZE_BYTES
    )]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The version that the server chose is longer than any version is.
    #[error("the server's protocol version is no version")]
    Version,
}

/// What a client asks of its open session, and a re-homed one must still have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A `logging/setLevel` request: its whole body.
    LogLevel(Bytes),
    /// A `resources/subscribe` request: its URI.
    Subscribe(Box<str>),
    /// A `resources/unsubscribe` request: its URI.
    Unsubscribe(Box<str>),
}

impl Wish {
    /// What the messages of a batch wish for, in their order; `None` for each that cannot be kept.
    /// `body` is the batch itself, if it is known.
    pub fn of_batch<'a>(
        facts: &'a RequestFacts,
        body: Option<&'a [u8]>,
    ) -> impl Iterator<Item = Option<Self>> + 'a {
        let message = move |place: usize| {
            let messages: Vec<&RawValue> = serde_json::from_slice(body?).ok()?;
            let message = messages.get(place)?.get().as_bytes();
            Some(Self::LogLevel(Bytes::copy_from_slice(message)))
        };
        let wish = move |(place, member): (usize, &RequestFacts)| {
            let uri = || member.uri.clone();
            if member.method == Method::LoggingSetLevel {
                Some(message(place))
            } else if member.method == Method::ResourcesSubscribe {
                Some(uri().map(Self::Subscribe))
            } else if member.method == Method::ResourcesUnsubscribe {
                Some(uri().map(Self::Unsubscribe))
            } else {
                None
            }
        };
        facts.members.iter().enumerate().filter_map(wish)
    }
}

impl SessionRecord {
    /// Longest `initialize` body that is kept, in bytes.
    pub const INITIALIZE_BYTES: usize = 64 * 1024;
    /// Longest `logging/setLevel` body that is kept, in bytes.
    pub const LOG_LEVEL_BYTES: usize = 4 * 1024;
    /// Longest version that is kept, in bytes.
    pub const VERSION_BYTES: usize = 64;

    /// A record of a session opened by this request body, in which the server chose `version`.
    ///
    /// # Errors
    /// [`RecordError`] when something is out of its bounds.
    pub fn new(initialize: &[u8], version: &str) -> Result<Self, RecordError> {
        let length = initialize.len();
        if length > Self::INITIALIZE_BYTES {
            return Err(RecordError::TooLong { length });
        }
        if version.len() > Self::VERSION_BYTES {
            return Err(RecordError::Version);
        }
        Ok(Self {
            // Copied: the piece that came in keeps the whole buffer alive that it was read into.
            initialize: Bytes::copy_from_slice(initialize),
            version: version.into(),
            log_level: None,
            subscriptions: Vec::new(),
        })
    }

    /// The record with one more wish, where so many subscriptions are kept. What is out of bounds
    /// changes nothing.
    #[must_use]
    pub fn with(&self, wish: Wish, subscriptions: usize) -> Self {
        let mut next = self.clone();
        match wish {
            Wish::LogLevel(body) if body.len() > Self::LOG_LEVEL_BYTES => {}
            Wish::LogLevel(body) => next.log_level = Some(Bytes::copy_from_slice(&body)),
            Wish::Subscribe(uri) => {
                let fits = uri.len() <= RequestFacts::URI_BYTES
                    && next.subscriptions.len() < subscriptions;
                if fits && !next.subscriptions.contains(&uri) {
                    next.subscriptions.push(uri);
                }
            }
            Wish::Unsubscribe(uri) => next.subscriptions.retain(|known| *known != uri),
        }
        next
    }

    /// Whether the record is as this wish wants it.
    pub fn has(&self, wish: &Wish) -> bool {
        match wish {
            Wish::LogLevel(body) => self.log_level.as_ref() == Some(body),
            Wish::Subscribe(uri) => self.subscriptions.contains(uri),
            Wish::Unsubscribe(uri) => !self.subscriptions.contains(uri),
        }
    }

    /// The body of the request that opened the session.
    pub fn initialize(&self) -> &Bytes {
        &self.initialize
    }

    /// The protocol version that the server chose, as it wrote it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The revision of that name, when it is a known one.
    pub fn revision(&self) -> Option<Revision> {
        Revision::parse(&self.version)
    }

    /// The body of the last `logging/setLevel` request.
    pub fn log_level(&self) -> Option<&Bytes> {
        self.log_level.as_ref()
    }

    /// The resources subscribed to, oldest first.
    pub fn subscriptions(&self) -> &[Box<str>] {
        &self.subscriptions
    }

    /// Bytes that the record holds.
    pub fn size_bytes(&self) -> usize {
        let texts: usize = self.subscriptions.iter().map(|uri| uri.len()).sum();
        let log_level = self.log_level.as_ref().map_or(0, Bytes::len);
        self.initialize.len() + self.version.len() + log_level + texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> SessionRecord {
        SessionRecord::new(b"{}", "2025-06-18").unwrap()
    }

    #[test]
    fn what_is_out_of_bounds_is_not_recorded() {
        let long = vec![b' '; SessionRecord::INITIALIZE_BYTES + 1];

        assert!(matches!(
            SessionRecord::new(&long, "2025-06-18"),
            Err(RecordError::TooLong { .. })
        ));
        assert_eq!(
            SessionRecord::new(b"", &"2".repeat(65)),
            Err(RecordError::Version)
        );
        let level = Bytes::from(vec![b' '; SessionRecord::LOG_LEVEL_BYTES + 1]);
        assert_eq!(record().with(Wish::LogLevel(level), 64), record());
        let uri = "u".repeat(RequestFacts::URI_BYTES + 1).into();
        assert_eq!(record().with(Wish::Subscribe(uri), 64), record());
    }

    #[test]
    fn a_record_holds_its_own_bytes_and_not_the_buffer_they_came_in() {
        let buffer = Bytes::from(vec![b' '; 64 * 1024]);

        let record = SessionRecord::new(&buffer.slice(..2), "2025-06-18").unwrap();
        let record = record.with(Wish::LogLevel(buffer.slice(2..4)), 64);

        assert!(buffer.is_unique());
        assert_eq!(record.size_bytes(), 2 + 10 + 2);
    }

    #[test]
    fn subscriptions_are_kept_once_and_up_to_a_bound() {
        let mut full = record();
        for index in 0..100 {
            full = full.with(Wish::Subscribe((index % 80).to_string().into()), 64);
        }

        assert_eq!(full.subscriptions().len(), 64);
        let fewer = full.with(Wish::Unsubscribe("0".into()), 64);
        assert_eq!(fewer.size_bytes(), full.size_bytes() - 1);
        let last: Wish = Wish::Subscribe("79".into());
        assert!(!full.has(&last) && full.has(&Wish::Subscribe("1".into())));
        assert_eq!(full.with(last, 65).subscriptions().len(), 65);
    }

    #[test]
    fn the_messages_of_a_batch_wish_for_what_they_would_alone() {
        let level = r#"{"id":1,"method":"logging/setLevel","params":{"level":"debug"}}"#;
        let long = "u".repeat(RequestFacts::URI_BYTES + 1);
        let body = format!(
            r#"[{{"method":"ping","id":0}}, {level},
            {{"id":2,"method":"resources/subscribe","params":{{"uri":"a://b"}}}},
            {{"id":3,"method":"resources/subscribe","params":{{"uri":"{long}"}}}}]"#
        );
        let mut peek = crate::mcp::RequestPeek::new();
        peek.feed(body.as_bytes());
        let facts = peek.finish().unwrap();

        let wishes: Vec<_> = Wish::of_batch(&facts, Some(body.as_bytes())).collect();

        let level = Wish::LogLevel(Bytes::from(level));
        let subscribe = Wish::Subscribe("a://b".into());
        assert_eq!(wishes, [Some(level), Some(subscribe), None]);
        assert_eq!(Wish::of_batch(&facts, None).next(), Some(None));
    }
}
