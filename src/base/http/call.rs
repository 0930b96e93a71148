//! A request to send, and a final response.

use reqwest::{
    Method, StatusCode, Url,
    header::{HeaderMap, HeaderValue},
};

use super::Body;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The credentials; a redirect to another origin drops them.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) headers: HeaderMap,
    /// The request body. Its type is in `headers`; a redirect never carries it.
    pub(crate) content: Option<String>,
    /// The treatment of a successful response's body.
    pub(crate) body: BodyMode,
    pub(crate) see_other: SeeOther,
    pub(crate) idempotency: Idempotency,
    pub(crate) effect: Effect,
    /// The maximum number of attempts, if it is lower than the policy's.
    pub(crate) attempts: Option<u32>,
}

/// The treatment of a successful response's body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BodyMode {
    /// Read it; more bytes than this are an error.
    Buffer(u64),
    /// Return it unread.
    Stream,
}

/// The treatment of 303 (See Other): it refers to another resource, and not to another location of
/// the requested one (RFC 9110, section 15.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeeOther {
    /// Like any other redirect.
    Follow,
    /// Return it as the final response.
    Return,
}

/// Whether a request may be carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idempotency {
    /// The second time changes nothing.
    Repeatable,
    /// It is retried only if the first attempt certainly had no effect.
    Once,
}

/// Whether a request changes something on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// No effect on the server, with any method.
    Read,
    /// It may change something.
    Write,
}

/// A final response: a retry would not change it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The URL of the response, after redirects.
    pub(crate) url: Url,
    /// The body; of an error, the part that the policy inspects.
    pub(crate) body: Body,
    /// Whether an earlier attempt may have had its effect although its response was lost.
    pub(crate) is_repeat: bool,
}

impl Call {
    /// A GET of `url` for a document of at most `max` bytes.
    pub(crate) fn get(url: Url, max: u64) -> Self {
        Self {
            method: Method::GET,
            url,
            authorization: None,
            headers: HeaderMap::new(),
            content: None,
            body: BodyMode::Buffer(max),
            see_other: SeeOther::Follow,
            idempotency: Idempotency::Repeatable,
            effect: Effect::Read,
            attempts: None,
        }
    }
}
