//! What files say about access.

mod caller;
mod network;

pub use caller::{AuditSpec, CertificateSpec, FailuresSpec, TokenSpec, grant_problems};
pub use network::{MAX_NETWORKS, Network, address_problems};
