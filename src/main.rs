//! The door: see the `cli` room.

fn main() {}
