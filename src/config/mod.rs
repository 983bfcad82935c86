//! The file: read, interpolated, checked, and either a [`Config`] or every diagnostic at once.
//!
//! Invariants: a [`Config`] that exists is valid in every bound its specs document; a bad file
//! yields all of its problems, each with file, line, column, code and hint; a value that comes
//! from `${...}` never adds structure. Sections belong to their rooms (`*/spec.rs`); this room
//! puts them together and checks what no single room can.
//!
//! Not here: watching the file (`filewatch`), deciding what a reload changes (`control`).

mod check;
mod check_admin;
mod check_calendar;
mod check_rules;
mod check_tellers;
mod diagnostic;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod interpolate;
mod load;
mod node;
mod reader;
mod schema;
pub mod spec;
mod suggest;
mod surroundings;
mod syntax;
mod value;
mod veil;

pub use diagnostic::{Code, Diagnostic, Diagnostics, Render};
pub use load::{Config, Fingerprint, Format, MAX_FILE_BYTES, load, load_with, parse};
pub use schema::schema;
pub use surroundings::{Process, Surroundings};

#[cfg(test)]
mod tests;
