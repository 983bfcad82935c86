//! The `split` and `sticky` parts of a route.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{BackendName, Weight};

/// Relative shares by backend. A backend with share 0 gets no new traffic but may be shifted to.
pub type SplitSpec = BTreeMap<BackendName, Weight>;

/// Where the key of a request comes from. Sources are asked in the order of the list; the
/// first that the request has is used, and a request without any is drawn at random.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StickySpec {
    /// The value of a request header, such as `{ header: x-user-id }`.
    Header(String),
    /// The value of a cookie, such as `{ cookie: session }`.
    Cookie(String),
    /// The client's address, as trusted proxies tell it.
    ClientAddress,
}
