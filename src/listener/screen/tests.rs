//! What passes the screen, and what does not, however it is cut.

use proptest::prelude::*;

use super::*;

const BOUNDS: HeadBounds = HeadBounds {
    bytes: 65_536,
    fields: 1000,
};
const HEAD: &str = "POST /a?b HTTP/1.1\r\nHost: h\r\n";

/// Looks at bytes in pieces of this size; how many of them passed.
fn looked(bytes: &[u8], piece: usize) -> (usize, Result<(), Fault>, bool) {
    looked_within(BOUNDS, bytes, piece)
}

fn looked_within(
    bounds: HeadBounds,
    bytes: &[u8],
    piece: usize,
) -> (usize, Result<(), Fault>, bool) {
    let mut screen = Screen::new(bounds);
    let mut passed = 0;
    for piece in bytes.chunks(piece) {
        match screen.look(piece) {
            Ok(()) => passed += piece.len(),
            Err(fault) => {
                let (Fault::Head(at) | Fault::Long(at, _) | Fault::Body(at)) = fault;
                return (passed + at, Err(fault), false);
            }
        }
    }
    (passed, Ok(()), screen.may_close())
}

fn is_sound(text: &str) -> bool {
    looked(text.as_bytes(), usize::MAX).1.is_ok()
}

#[test]
fn sound_messages_pass_and_leave_nothing_open() {
    for message in [
        format!("{HEAD}\r\n"),
        format!("\r\n\r\n{HEAD}\r\n{HEAD}\r\n"),
        format!("{HEAD}content-length:\t5 \r\nContent-Length: 5\r\n\r\nabc\n\0"),
        format!("{HEAD}content-length: 0\r\n\r\n"),
        format!("{HEAD}TRANSFER-encoding: Chunked\t\r\n\r\n5\r\nab\r\n\n\r\n0\r\n\r\n"),
        format!(
            "{HEAD}transfer-encoding: chunked\r\n\r\n0a ; x=\"y\"\r\n0123456789\r\n0;\r\nA: b\r\n\r\n"
        ),
    ] {
        let whole = (message.len(), Ok(()), true);
        assert_eq!(looked(message.as_bytes(), usize::MAX), whole, "{message:?}");
        for piece in 1..message.len() {
            assert_eq!(
                looked(message.as_bytes(), piece),
                whole,
                "{message:?} by {piece}"
            );
        }
    }
}

#[test]
fn a_head_that_others_may_read_otherwise_is_a_fault_before_it_ends() {
    for head in [
        "GET /#a HTTP/1.1\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\n\r\n",
        "GET /\ta HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length:\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: \u{b}chunked\r\n\r\n",
    ] {
        for piece in 1..=head.len() {
            let (passed, fault, _) = looked(head.as_bytes(), piece);
            assert!(matches!(fault, Err(Fault::Head(_))), "{head:?}");
            assert_eq!(head.as_bytes()[passed], b'\n', "{head:?}");
        }
    }
}

#[test]
fn a_body_in_faulty_chunks_is_a_fault_of_the_body() {
    for chunks in [
        "\r\n",
        "5\n",
        "+5\r\n",
        "-5\r\n",
        " 5\r\n",
        "5 \r\n",
        "0x5\r\n",
        "5;a\n",
        "5;\0\r\n",
        "5\r\r\n",
        "5;a\r\r\n",
        "5word\r\n",
        "0_5\r\n",
        "12345678123456789\r\n",
        "2\r\nokX\r\n",
        "2\r\nok\n",
        "2\r\nok\r\n\r\n",
        "0\r\nx\r\n\r\n",
        "0\r\nx : y\r\n\r\n",
        "0\r\nx: \r y\r\n\r\n",
        "0\r\n x: y\r\n\r\n",
        "0\r\nx: y\n\r\n",
        "0\r\n\n",
    ] {
        let message = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunks}");
        for piece in 1..=message.len() {
            let fault = looked(message.as_bytes(), piece).1;
            assert!(
                matches!(fault, Err(Fault::Body(_))),
                "{chunks:?} by {piece}"
            );
        }
    }
}

#[test]
fn a_size_that_fills_its_number_is_counted_down_as_it_is() {
    let of_size = |size: &str| {
        let message = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{size}\r\n");
        is_sound(&(message + &"x".repeat(1000)))
    };
    assert!(of_size("7fffffffffffffff"));
    assert!(!of_size("8000000000000000"));
}

proptest! {
    #[test]
    fn nor_does_it_at_the_bounds(
        bytes in "POST / HTTP/1.1\r\n(x: y\r\n|fourteen-bytes: y\r\n|seventeen-bytes-x: y\r\n|y: z\n|[a-z]{0,30}\r\n){0,6}(\r\n)?",
        piece in 1usize..20,
        most in (0usize..90, 0usize..5),
    ) {
        let bounds = HeadBounds { bytes: most.0, fields: most.1 };
        let (whole, pieces) = (
            looked_within(bounds, bytes.as_bytes(), usize::MAX),
            looked_within(bounds, bytes.as_bytes(), piece),
        );
        // A line that is too long is told before its end, if it comes in pieces.
        prop_assert_eq!(whole.1.is_ok(), pieces.1.is_ok());
        prop_assert!(whole.0 == pieces.0 || matches!(whole.1, Err(Fault::Long(..))));
    }

    #[test]
    fn it_does_not_matter_how_bytes_are_cut(
        bytes in "(POST / HTTP/1.1\r\n|x: y\r\n|content-length: [0-3]\r\n|transfer-encoding: chunked\r\n|\r\n|[0-3]\r\n|a|\n|#){0,20}",
        piece in 1usize..20,
    ) {
        let (whole, pieces) = (looked(bytes.as_bytes(), usize::MAX), looked(bytes.as_bytes(), piece));
        prop_assert_eq!(whole.0, pieces.0);
        prop_assert_eq!(whole.1.is_ok(), pieces.1.is_ok());
        prop_assert_eq!(whole.2, pieces.2);
    }
}
