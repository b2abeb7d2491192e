//! The `kokeshi` program.
fn main() {}
