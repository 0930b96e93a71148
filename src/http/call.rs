//! Requests as they are sent, and final responses.

use reqwest::{
    Method, StatusCode, Url,
    header::{HeaderMap, HeaderValue},
};

use super::Body;

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Where to; redirects may lead elsewhere.
    pub url: Url,
    /// What is sent to no other origin than `url`'s.
    pub authorization: Option<HeaderValue>,
    /// The other headers.
    pub headers: HeaderMap,
    /// A body, whose type is in `headers`; it is sent only to `url`.
    pub content: Option<String>,
    /// What to do with the body of a success.
    pub body: Reading,
    /// Whether it may be sent again.
    pub idempotency: Idempotency,
    /// Whether it changes something on the server.
    pub effect: Effect,
    /// How often it is tried at most, besides what the policy says.
    pub attempts: Option<u32>,
}

/// What to do with the body of a success.
#[derive(Debug, Clone, Copy)]
pub enum Reading {
    /// Read it, at most so many bytes.
    UpTo(u64),
    /// Leave it to be read.
    Later,
}

/// Whether a request may be carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// The second time changes nothing.
    Repeatable,
    /// It is sent again only if the first one was certainly not carried out.
    Once,
}

/// Whether a request changes something on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It only reads, whatever its method is.
    Reads,
    /// It may change something.
    Writes,
}

/// A response that is final: no attempt would change it.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Where it came from in the end.
    pub url: Url,
    /// Its body; of an error, as much as the policy says.
    pub body: Body,
    /// Whether an earlier attempt may have been carried out, although its answer was lost.
    pub repeated: bool,
}

impl Call {
    /// A GET of `url` whose body is a document of at most `max` bytes.
    pub fn get(url: Url, max: u64) -> Self {
        Self {
            method: Method::GET,
            url,
            authorization: None,
            headers: HeaderMap::new(),
            content: None,
            body: Reading::UpTo(max),
            idempotency: Idempotency::Repeatable,
            effect: Effect::Reads,
            attempts: None,
        }
    }
}
