//! repin
fn main() {}
