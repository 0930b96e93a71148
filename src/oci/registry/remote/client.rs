//! The HTTP client for registries; its failures become [`RequestError`]s.

use std::collections::BTreeMap;

use reqwest::StatusCode;

use super::{request_error::RequestError, settings::Settings};
use crate::base::{
    error::Error,
    http::{Call, Client, Deadline, Policy, REGISTRIES, Reply, SharedDeadline, Transport},
    untrusted::Secrets,
};

/// The state that all requests share.
#[derive(Debug)]
pub(super) struct RegistryClient {
    pub(super) http: Client,
    pub(super) secrets: Secrets,
    /// [`Settings::realms`].
    pub(super) realms: BTreeMap<String, String>,
    /// [`Settings::deadline`].
    all_requests: Option<SharedDeadline>,
}

impl RegistryClient {
    pub(super) fn new(settings: Settings, secrets: Secrets, transport: Transport) -> Self {
        let policy = Policy {
            attempts: settings.attempts,
            backoff: settings.backoff,
            patience: Some(settings.patience),
            stall_timeout: settings.stall_timeout,
            document_timeout: settings.document_timeout,
            stream_timeout: settings.layer_timeout,
            ..REGISTRIES
        };
        Self {
            http: Client::new(transport, policy, settings.now, secrets.clone()),
            secrets,
            realms: settings.realms,
            all_requests: settings.deadline,
        }
    }

    /// The deadline of a request that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        let own = self.http.deadline();
        match &self.all_requests {
            Some(shared) => own.earlier(shared.deadline()),
            None => own,
        }
    }

    pub(super) async fn send(&self, call: &Call, until: Deadline) -> Result<Reply, RequestError> {
        self.http
            .send(call, until)
            .await
            .map_err(|failure| RequestError::from_failure(&failure, &self.secrets))
    }

    /// The error for the document `name`. Redacts the secrets of the run, which a server may repeat:
    /// every error passes through here.
    pub(super) fn error(&self, error: RequestError, name: &str) -> Error {
        let reason = self.secrets.redact(&error.reason);
        RequestError { reason, ..error }.about(name)
    }

    /// A status and the error message in the body, safe to show.
    pub(super) fn status_text(&self, status: StatusCode, body: &[u8]) -> String {
        super::request_error::status_text(status, body, &self.secrets)
    }
}
