//! What an endpoint takes and gives, and whom it is for.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::access::Role;

/// A type on the wire: its name and how to describe it.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: fn() -> String,
    pub(super) schema: fn() -> RefOr<Schema>,
    pub(super) parts: fn(&mut Vec<(String, RefOr<Schema>)>),
}

/// The shape of a type of the wire.
pub(super) const fn shape<T: ToSchema + PartialSchema>() -> Shape {
    Shape {
        name: || T::name().into_owned(),
        schema: T::schema,
        parts: T::schemas,
    }
}

/// What an endpoint gives when all is well.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    /// JSON of this type.
    Json(Shape),
    /// JSON of this type, with 201.
    Created(Shape),
    /// Anything else, of this content type.
    Other(&'static str),
}

/// What an endpoint takes.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    Nothing,
    /// JSON of this type.
    Json(Shape),
    /// JSON of this type, from a program that cannot but send some: it changes nothing.
    Told(Shape),
    /// The text of a config file.
    File,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Anybody who reaches the listener: probes know no tokens.
    Nothing,
    /// Anybody on a listener that only this machine reaches, a viewer elsewhere.
    ViewerFromAfar,
    /// A role, or one above it.
    Role(Role),
}
