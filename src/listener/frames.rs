//! What an HTTP/2 client sends, counted by kinds of frames.
//!
//! The library that speaks the protocol answers every PING and takes every SETTINGS, for as long
//! as they come. Here is counted what brings no request and no answer forward, so that it can be
//! told to stop. Payloads are stepped over, never read.

/// Length of what every frame begins with (RFC 9113, 4.1).
const HEAD_BYTES: usize = 9;
/// What every connection begins with (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;
/// Smaller pieces of a body cost more to handle than they bring.
const SMALL_DATA_BYTES: usize = 16;
/// A frame of this length costs as much as two.
const LONG_BYTES: usize = 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// Follows the frames of one connection over reads of any size.
#[derive(Debug)]
pub(super) struct Frames {
    /// Payload of the present frame that is still to come.
    payload_left: usize,
    head: [u8; HEAD_BYTES],
    head_length: usize,
    /// With the present frame's payload a block of fields is complete.
    ends_block: bool,
}

/// What was seen in some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// What the frames cost that bring nothing forward.
    pub(super) cost: u32,
    /// Streams that were taken back.
    pub(super) resets: u32,
    /// A block of fields has begun (true), or has ended (false); the last such event.
    pub(super) in_block: Option<bool>,
    /// A frame has begun: the client speaks the protocol.
    pub(super) spoke: bool,
}

impl Frames {
    /// A connection of which nothing has been seen, its preface included.
    pub(super) fn new() -> Self {
        Self {
            payload_left: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            head_length: 0,
            ends_block: false,
        }
    }

    /// The next bytes of the connection.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            self.look_for_end(&mut seen);
            let wanted = HEAD_BYTES - self.head_length;
            let (more, rest) = bytes.split_at(wanted.min(bytes.len()));
            for byte in more {
                if let Some(place) = self.head.get_mut(self.head_length) {
                    *place = *byte;
                    self.head_length += 1;
                }
            }
            bytes = rest;
            if self.head_length == HEAD_BYTES {
                self.begin(&mut seen);
                self.look_for_end(&mut seen);
            }
        }
        seen
    }

    /// A block of fields is not over before the last byte of its last frame is there.
    fn look_for_end(&mut self, seen: &mut Seen) {
        if self.ends_block && self.payload_left == 0 {
            self.ends_block = false;
            seen.in_block = Some(false);
        }
    }

    /// A frame begins.
    fn begin(&mut self, seen: &mut Seen) {
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.payload_left = length;
        self.head_length = 0;
        seen.spoke = true;
        match kind {
            DATA => {
                let brings_little = length < SMALL_DATA_BYTES || flags & PADDED != 0;
                seen.cost += u32::from(brings_little);
                return;
            }
            HEADERS | CONTINUATION => {
                seen.in_block = Some(true);
                self.ends_block = flags & END_HEADERS != 0;
            }
            RST_STREAM => seen.resets += 1,
            _ => {}
        }
        seen.cost += 1 + (length / LONG_BYTES) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![(length >> 16) as u8, (length >> 8) as u8, length as u8];
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.extend(vec![0xff; length]);
        bytes
    }

    fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frames.concat());
        bytes
    }

    #[test]
    fn frames_are_the_same_however_they_are_read() {
        let bytes = connection(&[
            frame(4, 0, 18),
            frame(6, 0, 8),
            frame(RST_STREAM, 0, 4),
            frame(DATA, 0, 16_384),
            frame(200, 0, 4096),
        ]);

        for size in [1, 2, 7, 24, 9_000, bytes.len()] {
            let mut frames = Frames::new();
            let seen = bytes.chunks(size).map(|piece| frames.pass(piece));
            let (cost, resets) = seen.fold((0, 0), |(c, r), s| (c + s.cost, r + s.resets));

            assert_eq!((cost, resets), (3 + 1 + 4, 1), "in reads of {size}");
        }
    }

    #[test]
    fn a_block_of_fields_is_open_until_its_last_frame() {
        let mut frames = Frames::new();
        let in_block = |frames: &mut Frames, bytes: &[u8]| frames.pass(bytes).in_block;

        assert_eq!(
            in_block(&mut frames, &connection(&[frame(HEADERS, 0, 5)])),
            Some(true)
        );
        assert_eq!(
            in_block(&mut frames, &frame(CONTINUATION, 0, 0)),
            Some(true)
        );
        assert_eq!(
            in_block(&mut frames, &frame(CONTINUATION, END_HEADERS, 3)),
            Some(false)
        );
        assert_eq!(in_block(&mut frames, &frame(DATA, 0, 100)), None);
    }

    #[test]
    fn a_block_of_fields_is_open_until_its_last_byte() {
        for whole in [
            frame(HEADERS, END_HEADERS, 5),
            frame(HEADERS, END_HEADERS, 0),
        ] {
            let mut frames = Frames::new();
            frames.pass(&connection(&[]));
            let (last, before) = whole.split_last().unwrap();

            let open = before
                .iter()
                .map(|byte| frames.pass(&[*byte]).in_block)
                .fold(None, Option::or);

            assert_eq!(open, (whole.len() > HEAD_BYTES).then_some(true));
            assert_eq!(frames.pass(&[*last]).in_block, Some(false));
        }
    }

    #[test]
    fn bodies_cost_nothing_unless_they_bring_nothing() {
        let cost = |kind, flags, length| {
            let bytes = connection(&[frame(kind, flags, length)]);
            Frames::new().pass(&bytes).cost
        };

        assert_eq!(cost(DATA, 0, 16_384), 0);
        assert_eq!(cost(DATA, 0, 0), 1);
        assert_eq!(cost(DATA, PADDED, 300), 1);
    }
}
