//! Whether a container engine is there, found out without anything being written.
//!
//! podman is asked only for its version: every other query creates its storage. docker's
//! client asks its daemon.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    EngineContext, EngineName, Secrets, engines,
    process::{self, Bounds, End, Ran},
};
use crate::config::Smoke;

/// The time limit for a query to an engine.
const ANSWER: Duration = Duration::from_secs(10);

/// Each engine that the smoke command may be run by: what it says about its version, or why it
/// cannot be asked. Output is capped, and else as it came: escape it before it is shown.
pub fn probe(smoke: &Smoke, around: &EngineContext) -> Vec<(EngineName, Result<String, String>)> {
    engines(smoke.engine)
        .iter()
        .map(|name| (*name, version(*name, smoke, around)))
        .collect()
}

fn version(name: EngineName, smoke: &Smoke, around: &EngineContext) -> Result<String, String> {
    let args: &[&str] = match name {
        EngineName::Podman => &["--version"],
        EngineName::Docker => &["version", "--format", "docker {{.Server.Version}}"],
    };
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let secrets = Secrets::of(&[], &[]).map_err(|missing| missing.to_string())?;
    let bounds = Bounds {
        until: Instant::now() + ANSWER,
        interrupted: Some(&around.interrupted),
        secrets: &secrets,
    };
    let ran = process::run(name.command(smoke, around, &args), None, &bounds)
        .map_err(|error| unstarted(name, &error));
    let Ran { end, output, .. } = ran?;
    let message = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    match end {
        End::Exited(status) if status.success() => Ok(message),
        End::Exited(status) if message.is_empty() => Err(status.to_string()),
        End::Exited(_) => Err(message),
        End::OutOfTime => Err(format!("no response within {ANSWER:?}")),
        End::Interrupted => Err("interrupted".to_owned()),
    }
}

/// Why an engine's program could not be started.
pub(super) fn unstarted(name: EngineName, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("`{name}` was not found in PATH"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

    use super::*;
    use crate::config::Engine;

    fn smoke(engine: Engine) -> Smoke {
        let (command, env, engine_args) = (
            vec!["x".to_owned()],
            Vec::new(),
            vec!["--root".to_owned(), "/r".to_owned()],
        );
        let timeout = Duration::from_secs(60);
        Smoke {
            command,
            user: None,
            env,
            network: false,
            timeout,
            engine,
            engine_args,
            skip_when_unavailable: false,
        }
    }

    fn program(directory: &Path, name: &str, script: &str) {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn each_engine_reports_its_version_or_its_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = format!("{}:/bin:/usr/bin", dir.path().display());
        let around = EngineContext {
            variables: vec![("PATH".into(), path.into())],
            machine: "x86_64".to_owned(),
            interrupted: Arc::default(),
        };
        program(dir.path(), "podman", "echo \"podman version $*\"");
        program(dir.path(), "docker", "echo Cannot connect >&2; exit 1");
        let found = probe(&smoke(Engine::Auto), &around);
        assert_eq!(
            found[0],
            (
                EngineName::Podman,
                Ok("podman version --root /r --version".to_owned())
            )
        );
        assert_eq!(
            found[1],
            (EngineName::Docker, Err("Cannot connect".to_owned()))
        );
        assert_eq!(probe(&smoke(Engine::Docker), &around).len(), 1);
    }

    #[test]
    fn missing_program_is_named() {
        assert_eq!(
            unstarted(EngineName::Docker, &io::ErrorKind::NotFound.into()),
            "`docker` was not found in PATH"
        );
    }
}
