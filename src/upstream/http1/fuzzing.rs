//! What holds for every answer whatever, as a check over bytes: for the fuzz target and the tests.

use bytes::Bytes;
use http::Method;

use super::WireError;
use super::answer_head::{self, End};
use super::chunks::{Chunks, Part};
use super::scratch::Scratch;

/// A head and a body in chunks are the same however they come, a head is the same when its lines are known, and
/// nothing is read behind their end. The first two bytes say where what follows is cut.
///
/// # Panics
/// When that does not hold.
pub fn answer(input: &[u8]) {
    let Some(([first, second], answer)) = input.split_first_chunk() else {
        return;
    };
    let answer = Bytes::copy_from_slice(answer);
    let cut = usize::from(u16::from_be_bytes([*first, *second])) % (answer.len() + 1);
    let scratch = Scratch::default();
    let whole = answer_head::read(&answer, (&Method::GET, &scratch));
    let part = answer_head::read(&answer.slice(..cut), (&Method::GET, &scratch));
    match (&part, &whole) {
        (Ok(None), _) | (Err(_), Err(_)) => {}
        (Ok(Some((part, its))), Ok(Some((head, length)))) => {
            assert!(its == length && *its <= cut && part.end == head.end);
        }
        _ => unreachable!("{part:?} became {whole:?}"),
    }
    for time in 2..5 {
        let again = answer_head::read(&answer, (&Method::GET, &scratch));
        assert_eq!(format!("{again:?}"), format!("{whole:?}"), "time {time}");
    }
    let Ok(Some((head, length))) = whole else {
        return;
    };
    assert!(head.stays <= (head.end != End::Close));
    if head.end != End::Chunks {
        return;
    }
    let body = answer.slice(length..);
    let cut = cut % (body.len() + 1);
    let bytes: Vec<Bytes> = (0..body.len()).map(|at| body.slice(at..=at)).collect();
    let whole = decoded(std::slice::from_ref(&body));
    assert_eq!(decoded(&[body.slice(..cut), body.slice(cut..)]), whole);
    assert_eq!(decoded(&bytes), whole);
}

/// What a body in chunks says: its data, how many trailers it has, and whether it is whole; `None` for what is
/// none.
fn decoded(pieces: &[Bytes]) -> Option<(Vec<u8>, usize, bool)> {
    let (mut chunks, mut data, mut trailers) = (Chunks::new(), Vec::new(), 0);
    for piece in pieces {
        let mut came = piece.clone();
        loop {
            match chunks.take(&mut came) {
                Ok(Part::Data(piece)) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(&piece);
                }
                Ok(Part::Trailers(fields)) => trailers += fields.len(),
                Ok(Part::More | Part::End) => break,
                Err(error) => {
                    assert!(matches!(error, WireError::Chunks));
                    return None;
                }
            }
        }
    }
    Some((data, trailers, chunks.is_over()))
}
