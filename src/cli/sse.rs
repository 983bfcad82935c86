//! Reads events out of an event stream, whatever pieces it arrives in.

/// Longest event that is kept; a longer one is skipped.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// One event with data; events without any are no events, as the standard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// What `event:` said; empty when it said nothing.
    pub(super) name: String,
    /// The lines of `data:`, joined.
    pub(super) data: String,
}

/// The state between two pieces.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    after_return: bool,
    name: String,
    data: Option<String>,
    too_long: bool,
}

impl Reader {
    /// Takes the next piece of the stream and returns the events that it completes.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in chunk {
            let follows_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ if self.held() < MAX_EVENT_BYTES => self.line.push(byte),
                _ => self.too_long = true,
            }
        }
        events
    }

    fn held(&self) -> usize {
        self.line.len() + self.data.as_ref().map_or(0, String::len)
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.end_event();
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let data = self.data.take().filter(|data| !data.is_empty());
        if std::mem::take(&mut self.too_long) {
            return None;
        }
        data.map(|data| Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] = b": hello\r\nid: 1\r\nretry: 3000\r\ndata:\r\n\r\nevent: change\ndata: one\ndata: two\n\nid: 3\rdata:three\r\rdata: cut";

    fn event(name: &str, data: &str) -> Event {
        Event {
            name: name.into(),
            data: data.into(),
        }
    }

    #[test]
    fn events_end_at_an_empty_line_of_any_kind() {
        let events = Reader::default().feed(STREAM);

        assert_eq!(events, [event("change", "one\ntwo"), event("", "three")]);
    }

    #[test]
    fn an_endless_event_is_skipped_and_the_next_one_read() {
        let mut reader = Reader::default();
        let mut stream = b"data: ".to_vec();
        stream.resize(2 * MAX_EVENT_BYTES, b'x');
        stream.extend_from_slice(b"\n\ndata: next\n\n");

        assert_eq!(reader.feed(&stream), [event("", "next")]);
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(cuts in proptest::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut reader = Reader::default();
            let mut events = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                events.extend(reader.feed(&STREAM[from..cut]));
                from = cut;
            }

            prop_assert_eq!(events, Reader::default().feed(STREAM));
        }
    }
}
