//! Every kind of fault at each request of each command that talks to a network.
//!
//! `scripts/faults` runs all of them; the tests of every run take a sample.

pub(crate) mod certificates;
mod kinds;
mod proxy;
mod scene;
mod sweep;
