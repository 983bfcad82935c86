//! What files say about access.

mod caller;
mod jwt;
mod network;
mod page;

pub use caller::{AuditSpec, CertificateGrantSpec, FailuresSpec, TokenSpec, grant_problems};
pub use jwt::{AlgorithmSpec, AuthSpec, JwksSpec, JwtSpec, MetadataSpec};
pub use network::{MAX_NETWORKS, Network, address_problems};
pub use page::{MAX_NAMES, is_host, is_origin};
