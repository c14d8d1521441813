//! Fills memory exactly and says what it holds.

fn main() {}
