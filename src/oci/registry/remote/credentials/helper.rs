//! Credential helpers: `docker-credential-NAME get` (docker-credential-helpers, "Development").
//!
//! A helper has a time limit of ten seconds, after which its process group is killed. Its standard
//! output contains the secret and is never shown.

use std::{ffi::OsString, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use super::{Credentials, HelperResult, Secret, SecretKind, Secrets};
use crate::{base::untrusted::job_secrets, oci::registry::remote::MAX_MESSAGE};

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_STDOUT: u64 = 64 * 1024;
const MAX_STDERR: u64 = 4 * 1024;
/// The messages of helpers without credentials for a server.
const NOT_FOUND: [&str; 2] = [
    "credentials not found in native keychain",
    "credentials not found",
];
/// The user name that marks an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperCredentials {
    username: String,
    secret: String,
}

/// Runs a helper for the credentials of `server`; `None` if it has none. `path` is the search path
/// for programs.
pub(super) async fn get(
    name: &str,
    server: &str,
    path: Option<OsString>,
    secrets: &Secrets,
) -> HelperResult {
    get_within(name, server, path, secrets, TIMEOUT).await
}

pub(super) async fn get_within(
    name: &str,
    server: &str,
    path: Option<OsString>,
    secrets: &Secrets,
    timeout: Duration,
) -> HelperResult {
    let is_suffix = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !is_suffix {
        return Err("is not run: a helper is a program name suffix without a path".to_owned());
    }
    let program = format!("docker-credential-{name}");
    let mut command = Command::new(&program);
    command.arg("get").process_group(0).kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    for name in job_secrets() {
        command.env_remove(name);
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let Ok(result) = tokio::time::timeout(timeout, communicate(&mut child, server)).await else {
        if let Some(group) = group {
            // An error means that the processes have exited.
            let _ = kill_process_group(group, Signal::KILL);
        }
        return Err(format!("did not respond within {} s", timeout.as_secs()));
    };
    let output = result.map_err(|error| format!("was interrupted: {error}"))?;
    parse_output(&output, program, secrets)
}

fn parse_output(output: &HelperOutput, program: String, secrets: &Secrets) -> HelperResult {
    let parsed = serde_json::from_slice::<HelperCredentials>(&output.stdout);
    // Also hidden if the helper failed: its error message may contain the secret.
    if let Ok(credentials) = &parsed {
        secrets.hide(&credentials.secret);
    }
    if !output.is_success {
        let message = String::from_utf8_lossy(&output.stdout);
        if NOT_FOUND
            .iter()
            .any(|text| message.trim().starts_with(text))
        {
            return Ok(None);
        }
        let errors = secrets.clean(&String::from_utf8_lossy(&output.stderr), MAX_MESSAGE);
        return Err(if errors.is_empty() {
            "failed".to_owned()
        } else {
            format!("failed: {errors}")
        });
    }
    let credentials = parsed.map_err(|_| "returned malformed credentials".to_owned())?;
    if credentials.secret.is_empty() {
        return Ok(None);
    }
    let kind = if credentials.username == TOKEN_USER {
        SecretKind::IdentityToken
    } else {
        SecretKind::Password
    };
    Ok(Some(Credentials {
        user: credentials.username,
        secret: Secret::new(credentials.secret),
        kind,
        origin: program,
    }))
}

/// The exit status and output of a helper.
struct HelperOutput {
    is_success: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn communicate(child: &mut Child, server: &str) -> std::io::Result<HelperOutput> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A helper may respond without reading its input.
            let _ = stdin.write_all(server.as_bytes()).await;
        }
        Ok(())
    };
    let ((), stdout, stderr) = tokio::try_join!(
        write,
        read_prefix(stdout, MAX_STDOUT),
        read_prefix(stderr, MAX_STDERR)
    )?;
    Ok(HelperOutput {
        is_success: child.wait().await?.success(),
        stdout,
        stderr,
    })
}

/// Returns the first `max` bytes, and drops the other output so that the helper can exit.
async fn read_prefix(stream: Option<impl AsyncRead + Unpin>, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut stream) = stream else {
        return Ok(bytes);
    };
    (&mut stream).take(max).read_to_end(&mut bytes).await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(bytes)
}
