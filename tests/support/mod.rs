//! What the whole-program tests are told with.
#![allow(dead_code)]

pub mod layout;
pub mod skip;
pub mod smoke;
pub mod world;
