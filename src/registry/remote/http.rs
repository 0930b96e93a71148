//! Requests to registries: [`crate::http`] makes them, and its failures become faults.
//!
//! What a request means, which credentials it carries and whether its bytes are the right ones is
//! decided above.

use std::{collections::BTreeMap, time::SystemTime};

use reqwest::StatusCode;

use super::{request_error::RequestError, settings::Settings};
pub(super) use crate::http::{Body, Call, Open, Reading, Reply};
use crate::{
    http::{Client, Deadline, Policy, REGISTRIES, ServerTime, Transport},
    untrusted::Secrets,
};

/// All that requests share.
#[derive(Debug)]
pub(super) struct Http {
    pub(super) client: Client,
    pub(super) secrets: Secrets,
    /// [`Settings::realms`].
    pub(super) realms: BTreeMap<String, String>,
}

impl Http {
    pub(super) fn new(settings: Settings, secrets: Secrets, transport: Transport) -> Self {
        let policy = Policy {
            attempts: settings.attempts,
            backoff: settings.backoff,
            patience: Some(settings.patience),
            progress: settings.progress,
            whole: settings.whole,
            stream: settings.layer,
            ..REGISTRIES
        };
        Self {
            client: Client::new(transport, policy, settings.now, secrets.clone()),
            secrets,
            realms: settings.realms,
        }
    }

    /// When a request that begins now makes no further attempt.
    pub(super) fn patience(&self) -> Deadline {
        self.client.deadline()
    }

    /// The wall clock.
    pub(super) fn now(&self) -> fn() -> SystemTime {
        self.client.now()
    }

    /// The time reported by each host, by name.
    pub(super) fn clocks(&self) -> Vec<(String, ServerTime)> {
        self.client.clocks()
    }

    /// The response to `call`, after as many attempts as it takes and the settings allow.
    pub(super) async fn send(&self, call: &Call, until: Deadline) -> Result<Reply, RequestError> {
        let sent = self.client.send(call, until).await;
        sent.map_err(|failure| RequestError::of(&failure, &self.secrets))
    }

    /// What a status and the body of an error say, safe to show.
    pub(super) fn status_text(&self, status: StatusCode, body: &[u8]) -> String {
        super::request_error::status_text(status, body, &self.secrets)
    }
}
