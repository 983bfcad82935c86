//! What files say about access.

mod network;

pub use network::{MAX_NETWORKS, Network, address_problems};
