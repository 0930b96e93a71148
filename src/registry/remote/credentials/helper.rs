//! Credential helpers: `docker-credential-NAME get` (docker-credential-helpers, "Development").
//!
//! A helper gets ten seconds, and its whole process group is ended after them. Its standard output
//! holds the secret and is never shown, not even when it cannot be parsed.

use std::{ffi::OsString, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use super::{Credentials, Kind, Secret, Secrets};
use crate::{config::JOB_SECRETS, registry::remote::SHOWN};

const DEADLINE: Duration = Duration::from_secs(10);
/// How much of its output is read.
const OUTPUT_MAX: u64 = 64 * 1024;
const ERROR_MAX: u64 = 4 * 1024;
/// How helpers say that they know nothing about a server.
const NOT_FOUND: [&str; 2] = [
    "credentials not found in native keychain",
    "credentials not found",
];
/// The user name that marks an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper for the credentials of `server`; `None` if it has none. `path`: where programs are
/// looked for.
pub(super) async fn get(
    name: &str,
    server: &str,
    path: Option<OsString>,
    secrets: &Secrets,
) -> Result<Option<Credentials>, String> {
    get_within(name, server, path, secrets, DEADLINE).await
}

pub(super) async fn get_within(
    name: &str,
    server: &str,
    path: Option<OsString>,
    secrets: &Secrets,
    deadline: Duration,
) -> Result<Option<Credentials>, String> {
    let bare = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !bare {
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
    for name in JOB_SECRETS {
        command.env_remove(name);
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let Ok(ended) = tokio::time::timeout(deadline, converse(&mut child, server)).await else {
        if let Some(group) = group {
            // Already gone is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
        return Err(format!("did not respond within {} s", deadline.as_secs()));
    };
    let ended = ended.map_err(|error| format!("was interrupted: {error}"))?;
    read(&ended, program, secrets)
}

/// What a helper that has ended meant.
fn read(ended: &Ended, program: String, secrets: &Secrets) -> Result<Option<Credentials>, String> {
    let answer = serde_json::from_slice::<Answer>(&ended.output);
    if let Ok(answer) = &answer {
        secrets.hide(&answer.secret);
    }
    if !ended.success {
        let message = String::from_utf8_lossy(&ended.output);
        if NOT_FOUND
            .iter()
            .any(|text| message.trim().starts_with(text))
        {
            return Ok(None);
        }
        let errors = secrets.clean(&String::from_utf8_lossy(&ended.errors), SHOWN);
        let errors = if errors.is_empty() {
            String::new()
        } else {
            format!(": {errors}")
        };
        return Err(format!("failed{errors}"));
    }
    let answer = answer.map_err(|_| "returned malformed credentials".to_owned())?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    let kind = if answer.username == TOKEN_USER {
        Kind::IdentityToken
    } else {
        Kind::Password
    };
    Ok(Some(Credentials {
        user: answer.username,
        secret: Secret::new(answer.secret),
        kind,
        origin: program,
    }))
}

/// What a helper left behind.
struct Ended {
    success: bool,
    output: Vec<u8>,
    errors: Vec<u8>,
}

async fn converse(child: &mut Child, server: &str) -> std::io::Result<Ended> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ask = async {
        if let Some(mut stdin) = stdin {
            // A helper that does not read its input may still answer.
            let _ = stdin.write_all(server.as_bytes()).await;
        }
        Ok(())
    };
    let ((), output, errors) =
        tokio::try_join!(ask, all(stdout, OUTPUT_MAX), all(stderr, ERROR_MAX))?;
    Ok(Ended {
        success: child.wait().await?.success(),
        output,
        errors,
    })
}

/// The first `max` bytes; the rest is read and dropped, so that the helper can end.
async fn all(from: Option<impl AsyncRead + Unpin>, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut from) = from else {
        return Ok(bytes);
    };
    (&mut from).take(max).read_to_end(&mut bytes).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(bytes)
}
