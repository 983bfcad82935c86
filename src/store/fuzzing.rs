//! What holds for every state file whatever, as a check over bytes: for the fuzz target and the
//! tests.
//!
//! An input is a list of changes to a sound file, since few random bytes are a database at all:
//! three bytes say where (the highest bit: in the header), one says how many bytes follow, and
//! 255 cuts the file there.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use super::{Batch, Store};

/// Bytes at the beginning of a file that say how to read the rest.
const HEADER_BYTES: usize = 512;

/// A changed file is refused or it works: what is then saved is there when it is opened again, or
/// damage that shows later is told as such. `folder` is the check's own.
pub fn state_file(folder: &Path, input: &[u8]) {
    let changed = change(sound(folder).clone(), input);
    let state = folder.join("state");
    let file = state.join("state.redb");
    let made = fs::create_dir_all(&state).and_then(|()| fs::write(&file, &changed));
    assert!(made.is_ok(), "{made:?}");
    let Ok((store, _)) = Store::open(&state) else {
        return;
    };
    let saved = store.save(batch(b"next")).blocking_recv();
    drop(store);
    if !matches!(saved, Ok(Ok(()))) {
        return;
    }
    if let Ok((_, contents)) = Store::open(&state) {
        assert_eq!(contents.state.as_deref(), Some(&b"next"[..]));
    }
}

/// The bytes of a file that is as it should be.
fn sound(folder: &Path) -> &'static Vec<u8> {
    static SOUND: OnceLock<Vec<u8>> = OnceLock::new();
    SOUND.get_or_init(|| {
        let folder = folder.join("sound");
        let (store, path) = match Store::open(&folder) {
            Ok((store, _)) => (Some(store), folder.join("state.redb")),
            Err(error) => unreachable!("{error}"),
        };
        for state in [&b"first"[..], b"second"] {
            let saved = store.as_ref().map(|store| store.save(batch(state)));
            let saved = saved.and_then(|saved| saved.blocking_recv().ok());
            assert!(matches!(saved, Some(Ok(()))), "{saved:?}");
        }
        drop(store);
        fs::read(path).unwrap_or_default()
    })
}

fn batch(state: &[u8]) -> Batch {
    Batch {
        state: state.to_vec(),
        first_sequence: 1,
        events: vec![b"an event".to_vec()],
    }
}

fn change(mut file: Vec<u8>, mut input: &[u8]) -> Vec<u8> {
    while let [high, middle, low, count, rest @ ..] = input {
        let place = u32::from_be_bytes([0, high & 0x7F, *middle, *low]) as usize;
        let within = if high & 0x80 == 0 {
            file.len()
        } else {
            file.len().min(HEADER_BYTES)
        };
        let place = place % within.max(1);
        if *count == 255 {
            file.truncate(place);
            input = rest;
            continue;
        }
        let (new, left) = rest.split_at(rest.len().min(usize::from(*count)));
        for (old, new) in file.iter_mut().skip(place).zip(new) {
            *old = *new;
        }
        input = left;
    }
    file
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edits() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop::collection::vec(any::<u8>(), 0..16);
        let edit = (any::<[u8; 3]>(), bytes, any::<bool>(), any::<u8>()).prop_map(
            |(mut place, bytes, header, odd)| {
                place[0] = if header { 0x80 } else { place[0] & 0x0F };
                let count = if odd < 8 { 255 } else { bytes.len() as u8 };
                let bytes = if count == 255 { Vec::new() } else { bytes };
                [&place[..], &[count], &bytes].concat()
            },
        );
        prop::collection::vec(edit, 0..6).prop_map(|edits| edits.concat())
    }

    #[test]
    fn an_unchanged_file_works() {
        let folder = tempfile::tempdir().unwrap();

        state_file(folder.path(), &[]);

        assert!(sound(folder.path()).len() > HEADER_BYTES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_damaged_file_ends_nothing(edits in edits()) {
            let folder = tempfile::tempdir().unwrap();

            state_file(folder.path(), &edits);
        }
    }
}
