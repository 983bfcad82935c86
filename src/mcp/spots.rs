//! Entries of [`super::Recent`] as they are written down: numbers, one behind the other.

use super::recent::Spot;

/// An entry as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpotRow {
    /// What the table knows it by.
    pub key: u64,
    /// Where it belongs.
    pub spot: Spot,
    /// The tick of its last use, as far as it was written.
    pub seen: u64,
    /// It was used again after it came.
    pub is_regular: bool,
}

/// The bit of the tick that says so: no clock has it. Versions that do not know it take the row for one of now.
const REGULAR: u64 = 1 << 63;

impl SpotRow {
    /// Bytes of a row.
    pub const BYTES: usize = 5 * size_of::<u64>();

    /// All of them as bytes.
    pub fn to_bytes(rows: &[Self]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(rows.len() * Self::BYTES);
        for row in rows {
            let Spot {
                route,
                backend,
                endpoint,
            } = row.spot;
            let mark = if row.is_regular { REGULAR } else { 0 };
            for number in [
                row.key,
                route,
                backend,
                endpoint,
                row.seen & !REGULAR | mark,
            ] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        bytes
    }

    /// The rows in these bytes; what is too short for one is left out.
    pub fn read(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(Self::BYTES).filter_map(|row| {
            let (numbers, _) = row.as_chunks();
            let [key, route, backend, endpoint, seen] = *numbers else {
                return None;
            };
            let number = u64::from_le_bytes;
            let seen = number(seen);
            Some(Self {
                key: number(key),
                spot: Spot {
                    route: number(route),
                    backend: number(backend),
                    endpoint: number(endpoint),
                },
                seen: seen & !REGULAR,
                is_regular: seen & REGULAR != 0,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_off_is_left_out() {
        let row = |key, is_regular| SpotRow {
            key,
            spot: Spot {
                route: 2,
                backend: u64::MAX,
                endpoint: 4,
            },
            seen: 5,
            is_regular,
        };
        let rows = [row(1, false), row(9, true)];

        let bytes = SpotRow::to_bytes(&rows);

        assert!(SpotRow::read(&bytes).eq(rows));
        assert!(SpotRow::read(&bytes[..SpotRow::BYTES + 39]).eq([row(1, false)]));
    }
}
