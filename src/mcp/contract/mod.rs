//! What a server promises its clients, and what becomes of the promises in another version.
//!
//! A [`Contract`] is read from a server's own answers (`initialize` or `server/discover`, and its
//! lists), within [`ContractBounds`]. [`compare`] tells what a client of one server would notice on
//! the other: each [`Change`] follows a [`Rule`] of one table, with its [`Severity`].
//!
//! Pure: who asks, and over which connection, is decided elsewhere. `$ref`s of schemas are followed
//! inside their schema only. Texts of servers are cut and made harmless before they are shown.

mod change;
mod compare;
mod question;
mod read;
mod rule;
mod schema;
#[cfg(test)]
#[expect(
    clippy::too_many_lines,
    reason = "a table of cases is read from top to bottom"
)]
mod tests;
mod walk;

pub use change::{Change, Comparison, Counts};
pub use compare::compare;
pub use question::{Answered, Era, Question};
pub use read::{Contract, ContractBounds, ContractError};
pub use rule::{Part, Rule, Severity};
