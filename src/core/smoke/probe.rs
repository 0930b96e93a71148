//! Checks whether a container engine is available, without writing anything.
//!
//! podman only reports its version, because every other command creates its storage. docker's client
//! queries its daemon.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    EngineContext, EngineName, Secrets, engines,
    process::{self, End, Limits},
};
use crate::config::Smoke;

/// The time limit for a query to an engine.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the version or the error of each engine that the smoke command may use. The length of the
/// text is limited. It must be escaped before it is printed.
pub(crate) fn probe(
    smoke: &Smoke,
    context: &EngineContext,
) -> Vec<(EngineName, Result<String, String>)> {
    engines(smoke.engine)
        .iter()
        .map(|name| (*name, version(*name, smoke, context)))
        .collect()
}

fn version(name: EngineName, smoke: &Smoke, context: &EngineContext) -> Result<String, String> {
    let args: &[&str] = match name {
        EngineName::Podman => &["--version"],
        EngineName::Docker => &["version", "--format", "docker {{.Server.Version}}"],
    };
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let secrets = Secrets::from_variables(&[], &[]).map_err(|missing| missing.to_string())?;
    let limits = Limits {
        deadline: Instant::now() + QUERY_TIMEOUT,
        interrupted: Some(&context.interrupted),
        secrets: &secrets,
    };
    let result = process::run(name.command(smoke, context, &args), None, &limits)
        .map_err(|error| spawn_error(name, &error))?;
    let mut lines: Vec<_> = result.output.lines().map(str::trim).collect();
    lines.retain(|line| !line.is_empty());
    let message = lines.join("; ");
    match result.end {
        End::Exited(status) if status.success() => Ok(message),
        End::Exited(status) if message.is_empty() => Err(status.to_string()),
        End::Exited(_) => Err(message),
        End::TimedOut => Err(format!("no response within {QUERY_TIMEOUT:?}")),
        End::Interrupted => Err("interrupted".to_owned()),
    }
}

/// Describes the failure to start an engine's program.
pub(super) fn spawn_error(name: EngineName, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("`{name}` was not found in PATH"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

    use super::*;
    use crate::config::{Engine, WhenUnavailable};

    fn smoke(engine: Engine) -> Smoke {
        Smoke {
            command: vec!["x".to_owned()],
            user: None,
            env: Vec::new(),
            network: false,
            timeout: Duration::from_secs(60),
            engine,
            engine_args: vec!["--root".to_owned(), "/r".to_owned()],
            when_unavailable: WhenUnavailable::Refuse,
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
        let context = EngineContext {
            variables: vec![("PATH".into(), path.into())],
            machine: "x86_64".to_owned(),
            interrupted: Arc::default(),
        };
        program(dir.path(), "podman", "echo \"podman version $*\"");
        program(dir.path(), "docker", "echo Cannot connect >&2; exit 1");
        let found = probe(&smoke(Engine::Auto), &context);
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
        assert_eq!(probe(&smoke(Engine::Docker), &context).len(), 1);
    }

    #[test]
    fn missing_program_is_named() {
        assert_eq!(
            spawn_error(EngineName::Docker, &io::ErrorKind::NotFound.into()),
            "`docker` was not found in PATH"
        );
    }
}
