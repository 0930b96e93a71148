//! HTTP for registries and forges: who is trusted, which way requests go, and what servers say.
//!
//! What a request means, which credentials it carries, and what an answer is worth is decided by
//! the caller.

pub mod address;
mod clock;
pub mod error_body;
mod transport;

pub use clock::{Clock, Heard};
pub use transport::{SettingsError, Transport};
