//! The log: set up once by the process, written by a thread of its own.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::escape::Escaping;

/// Events that wait to be written; further ones are dropped and counted.
const QUEUE: usize = 8192;
/// Longest wait at the end of the process for what is still to be written.
const FLUSH: Duration = Duration::from_secs(1);
/// What is logged when nobody says otherwise.
const DEFAULT_FILTER: &str = "info";
/// Counts events that were dropped because the reader of stderr was too slow.
const DROPPED: &str = "switchback_log_events_dropped_total";

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text, for people.
    Text,
    /// A line of JSON, for collectors.
    Json,
}

impl LogFormat {
    /// Text on a terminal, JSON everywhere else.
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error(
        "`{filter}` is not a log filter, which looks like `info` or `warn,switchback::judge=debug`"
    )]
    Filter {
        /// The refused text.
        filter: String,
        /// What the parser says.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else in the process took the log first.
    #[error("the log is already set up")]
    Twice,
    /// No thread for the writer.
    #[error("starting the thread that writes the log")]
    Thread(#[source] io::Error),
}

/// The log of the process. Keep it until the end: dropping it writes what is still queued.
#[derive(Debug)]
pub struct Log {
    lines: Sender<Line>,
}

enum Line {
    Event(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Log {
    /// Sets up the log on stderr. `filter` is a list such as `warn,switchback::judge=debug`;
    /// without one (or with an empty one) `info` and above is written.
    ///
    /// # Errors
    /// [`LogError`] when the filter is not one or the log is already set up.
    pub fn start(format: LogFormat, filter: Option<&str>) -> Result<Self, LogError> {
        let text = filter
            .filter(|text| !text.trim().is_empty())
            .unwrap_or(DEFAULT_FILTER);
        // Without regular expressions: a filter then costs the same whatever it says.
        let filter = EnvFilter::builder().with_regex(false).parse(text);
        let filter = filter.map_err(|source| LogError::Filter {
            filter: text.to_owned(),
            source,
        })?;
        describe();
        // Not one of `std`, which has all of its places from the beginning.
        let (lines, queue) = channel(QUEUE);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(queue, io::stderr()))
            .map_err(LogError::Thread)?;
        install(format, filter, Queue(lines.clone()))?;
        Ok(Self { lines })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.lines.try_send(Line::Flush(done)).is_ok() {
            // A stuck stderr must not keep the process alive.
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

fn describe() {
    let help = "Log events dropped because the reader of stderr was too slow";
    super::describe_counter(DROPPED, help);
}

fn install(format: LogFormat, filter: EnvFilter, queue: Queue) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue);
    // No colours: every escape character in the output would be one that somebody sent.
    let builder = builder.with_ansi(false);
    let set = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(builder.finish()),
        LogFormat::Json => {
            tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish())
        }
    };
    set.map_err(|_| LogError::Twice)
}

fn write_all(mut queue: Receiver<Line>, mut to: impl Write) {
    while let Some(line) = queue.blocking_recv() {
        // Nothing can be done about a closed stderr, and nobody could be told.
        match line {
            Line::Event(event) => {
                let _ = to.write_all(&event);
            }
            Line::Flush(done) => {
                let _ = to.flush();
                let _ = done.try_send(());
            }
        }
    }
}

/// Hands each event to the writing thread, or drops it when that is behind.
#[derive(Clone, Debug)]
struct Queue(Sender<Line>);

impl Write for Queue {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Line::Event(event.to_vec())).is_err() {
            metrics::counter!(DROPPED).increment(1);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Escaping<Self>;

    fn make_writer(&'a self) -> Self::Writer {
        Escaping::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the log writes for `event`.
    fn written(format: LogFormat, event: impl Fn()) -> String {
        let (lines, queue) = channel(16);
        let builder = tracing_subscriber::fmt()
            .with_writer(Queue(lines))
            .with_ansi(false);
        match format {
            LogFormat::Text => tracing::subscriber::with_default(builder.finish(), event),
            LogFormat::Json => tracing::subscriber::with_default(
                builder.json().flatten_event(true).finish(),
                event,
            ),
        }
        let mut out = Vec::new();
        write_all(queue, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hostile_fields_stay_inside_their_line() {
        let hostile = "x\r\n2026 ERROR forged \u{1b}[31m\u{202e}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = written(format, || {
                tracing::info!(path = %hostile, name = hostile, other = ?hostile, "asked {hostile}");
            });

            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains(['\r', '\u{1b}', '\u{202e}']), "{text}");
        }
    }

    #[test]
    fn json_lines_are_json() {
        let text = written(LogFormat::Json, || {
            tracing::warn!(route = "a\u{9b}\"b", "hello");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();

        assert_eq!(line["route"], "a\u{9b}\"b");
        assert_eq!(line["message"], "hello");
    }

    #[test]
    fn a_stuck_reader_costs_events_not_time() {
        describe();
        let (lines, _queue) = channel(1);
        let mut writer = Queue(lines);

        for _ in 0..3 {
            writer.write_all(b"event\n").unwrap();
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_its_text() {
        let error = Log::start(LogFormat::Json, Some("info,=!")).unwrap_err();

        assert!(error.to_string().contains("info,=!"), "{error}");
    }
}
