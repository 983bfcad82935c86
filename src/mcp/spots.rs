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
}

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
            for number in [row.key, route, backend, endpoint, row.seen] {
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
            Some(Self {
                key: number(key),
                spot: Spot {
                    route: number(route),
                    backend: number(backend),
                    endpoint: number(endpoint),
                },
                seen: number(seen),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_off_is_left_out() {
        let row = |key| SpotRow {
            key,
            spot: Spot {
                route: 2,
                backend: u64::MAX,
                endpoint: 4,
            },
            seen: 5,
        };
        let rows = [row(1), row(9)];

        let bytes = SpotRow::to_bytes(&rows);

        assert!(SpotRow::read(&bytes).eq(rows));
        assert!(SpotRow::read(&bytes[..SpotRow::BYTES + 39]).eq([row(1)]));
    }
}
