//! Tells when a file has changed.
