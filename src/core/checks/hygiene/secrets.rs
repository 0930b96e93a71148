//! Environment variables that look like secrets, by name or by value; values are never printed.

use super::{Check, Code, fail};
use crate::base::untrusted::secret_reason;

/// A finding for each entry `NAME=VALUE` of an image's config that looks like a secret.
pub(crate) fn env_secrets(env: &[String]) -> Vec<Check> {
    let mut findings = Vec::new();
    for entry in env {
        let Some(reason) = secret_reason(entry) else {
            continue;
        };
        let name = entry.split_once('=').map_or(&**entry, |(name, _)| name);
        let detail = format!("{reason}; anyone who can pull the image can read it");
        findings.push(fail(Code::ENV_SECRET, name, detail));
    }
    findings
}
