//! An attempt with one engine: fetch or load the image, run the command, attribute a failure to the
//! image or the engine, and clean up.
//!
//! An engine exits with 125, 126 or 127 if it cannot run the command, but the command may exit with the
//! same codes. Only a failure of the command is a verdict about the image, so the state of the
//! container decides.
//!
//! Checks whether a container engine is available, without writing anything.
//!
//! podman only reports its version, because every other command creates its storage. docker's client
//! queries its daemon.

use std::{
    io,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    EngineContext, EngineName, Image, ImageLocation, Outcome, Request, Secrets,
    archive::Archive,
    engines,
    process::{self, End, InputWriter, Limits, ProcessResult},
};
use crate::{config::Engine, oci::registry::resolve::PlatformFacts};

/// The time limit for a query to an engine.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit for removing a container or an image.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The errors of a container that never started because of the image or the command.
const IMAGE_ERRORS: &[&str] = &[
    "exec: \"",
    "executable file",
    "open executable",
    "exec format error",
    "exec user process",
    "command that was not found",
    "unable to find user",
    "unable to find group",
    "no matching entries in",
];

/// The parameters of an attempt.
pub(super) struct Attempt<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) platform: &'a PlatformFacts,
    pub(super) secrets: &'a Secrets,
    pub(super) context: &'a EngineContext,
    pub(super) engine: EngineName,
}

pub(super) enum AttemptOutcome {
    /// The engine could not run the image, for this reason.
    Unavailable(String),
    Finished(Outcome),
}

pub(super) struct AttemptResult {
    pub(super) outcome: AttemptOutcome,
    /// A container that could not be removed, with the reason.
    pub(super) unremoved_container: Option<String>,
}

/// The state of the container after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContainerState {
    /// The command was started.
    Started,
    /// The container is missing or was never started.
    NeverStarted,
    /// The engine returned malformed output.
    Unknown,
    /// The engine did not respond.
    Silent,
}

impl Attempt<'_> {
    /// Runs the command and cleans up.
    pub(super) fn run(&self) -> AttemptResult {
        let deadline = Instant::now() + self.request.smoke.timeout;
        let (image, is_loaded) = match self.image(deadline) {
            Ok(image) => image,
            Err(outcome) => {
                return AttemptResult {
                    outcome,
                    unremoved_container: None,
                };
            }
        };
        let args = self.engine.run_args(self.request, &image);
        let result = match self.execute(&args, None, deadline) {
            Ok(result) => result,
            Err(outcome) => {
                return AttemptResult {
                    outcome,
                    unremoved_container: None,
                };
            }
        };
        let state = if is_inconclusive(result.end) {
            self.container_state()
        } else {
            ContainerState::Started
        };
        let is_silent = state == ContainerState::Silent;
        let timeout = if is_silent {
            QUERY_TIMEOUT
        } else {
            REMOVAL_TIMEOUT
        };
        if !is_silent && result.end.exit_code().is_none() {
            // The container may still run. `rm` would first send SIGTERM and pause.
            let args = ["kill", "--signal=KILL", &self.request.container];
            let _ = self.query(&args, timeout);
        }
        let outcome = self.judge(&result, state);
        let removal_error = self.remove_container(timeout);
        if let (true, Image::Id(id)) = (is_loaded, &image) {
            // If another process uses the image, the engine refuses to remove it.
            let _ = self.query(&["rmi", id], timeout);
        }
        // The failed removal of an unavailable engine has the same cause, which is reported once.
        let unremoved_container = match outcome {
            AttemptOutcome::Finished(_) => removal_error,
            AttemptOutcome::Unavailable(_) => None,
        };
        AttemptResult {
            outcome,
            unremoved_container,
        }
    }

    /// The image for `run`, and whether this attempt loaded it into the engine's storage.
    fn image(&self, deadline: Instant) -> Result<(Image, bool), AttemptOutcome> {
        match self.request.location {
            ImageLocation::Registry { name, plain } => {
                let platform = &self.platform.platform;
                let image = Image::Reference {
                    text: format!("{name}@{}", self.request.image.digest),
                    plain: *plain,
                    platform: format!("{}/{}", platform.os, platform.architecture),
                };
                Ok((image, false))
            }
            ImageLocation::Layout(directory) => {
                let manifest = &self.platform.manifest;
                let id = manifest.config.digest.to_string();
                let args = ["image", "inspect", "--format={{.Id}}", &id];
                let result = self.query(&args, QUERY_TIMEOUT).map_err(|error| {
                    AttemptOutcome::Unavailable(spawn_error(self.engine, &error))
                })?;
                let is_present = result.end.is_success();
                if !is_present {
                    self.load(Archive::new(directory, manifest), deadline)?;
                }
                Ok((Image::Id(id), !is_present))
            }
        }
    }

    fn load(&self, archive: Archive, deadline: Instant) -> Result<(), AttemptOutcome> {
        let write: InputWriter = Box::new(move |output| archive.write(output));
        let result = self.execute(&["load".to_owned()], Some(write), deadline)?;
        if let Some(error) = result.input_error {
            return Err(AttemptOutcome::Finished(Outcome::UnreadableLayout(error)));
        }
        let reason = match result.end {
            End::Exited(status) if status.success() => return Ok(()),
            End::Exited(_) => format!(
                "cannot load the image: {}",
                self.error_lines(&result.output)
            ),
            End::TimedOut => format!(
                "did not load the image within {:?}",
                self.request.smoke.timeout
            ),
            End::Interrupted => return Err(AttemptOutcome::Finished(Outcome::Interrupted)),
        };
        Err(AttemptOutcome::Unavailable(reason))
    }

    fn judge(&self, result: &ProcessResult, state: ContainerState) -> AttemptOutcome {
        let engine = self.engine;
        let output = self.hide_container_name(&result.output);
        let error = self.error_lines(&output);
        let status = match result.end {
            End::Interrupted => return AttemptOutcome::Finished(Outcome::Interrupted),
            End::TimedOut if state == ContainerState::NeverStarted => {
                let timeout = self.request.smoke.timeout;
                let mut reason = format!(
                    "started no container within {timeout:?}, including the time to fetch the image"
                );
                if !error.is_empty() {
                    reason = format!("{reason}: {error}");
                }
                return AttemptOutcome::Unavailable(reason);
            }
            End::TimedOut => return AttemptOutcome::Finished(Outcome::TimedOut { output }),
            End::Exited(status) if status.success() => {
                return AttemptOutcome::Finished(Outcome::Passed);
            }
            End::Exited(status) => status,
        };
        let is_engine_error = match state {
            ContainerState::Started => false,
            ContainerState::NeverStarted => !IMAGE_ERRORS.iter().any(|text| error.contains(text)),
            ContainerState::Unknown | ContainerState::Silent => status.code() == Some(125),
        };
        if is_engine_error {
            return AttemptOutcome::Unavailable(if error.is_empty() {
                status.to_string()
            } else {
                error
            });
        }
        AttemptOutcome::Finished(Outcome::Failed {
            engine,
            exit: status.code(),
            output,
        })
    }

    /// Determines whether the container's command was started.
    fn container_state(&self) -> ContainerState {
        let args = [
            "inspect",
            "--type=container",
            "--format={{.State.StartedAt}}",
            &self.request.container,
        ];
        let Ok(result) = self.query(&args, QUERY_TIMEOUT) else {
            return ContainerState::Silent;
        };
        match result.end {
            End::Exited(status) if status.success() => result
                .output
                .lines()
                .find_map(parse_start_time)
                .unwrap_or(ContainerState::Unknown),
            End::Exited(_) if is_absence(&result.output) => ContainerState::NeverStarted,
            End::Exited(_) => ContainerState::Unknown,
            End::TimedOut | End::Interrupted => ContainerState::Silent,
        }
    }

    /// Removes the container, running or not. Returns the reason of a failure.
    fn remove_container(&self, timeout: Duration) -> Option<String> {
        let container = &self.request.container;
        let args = ["rm", "--force", "--volumes", container];
        let reason = match self.query(&args, timeout) {
            Ok(result) => match result.end {
                End::Exited(status) if status.success() || is_absence(&result.output) => {
                    return None;
                }
                End::Exited(_) => self.error_lines(&result.output),
                End::TimedOut | End::Interrupted => format!("no response within {timeout:?}"),
            },
            Err(error) => spawn_error(self.engine, &error),
        };
        Some(format!("{container} ({}: {reason})", self.engine))
    }

    /// Runs a query or a cleanup command of the engine, even after an interruption of the run.
    fn query(&self, args: &[&str], timeout: Duration) -> io::Result<ProcessResult> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let limits = Limits {
            deadline: Instant::now() + timeout,
            interrupted: None,
            secrets: self.secrets,
        };
        process::run(self.command(&args), None, &limits)
    }

    /// Runs a command of the engine within the timeout of the run.
    fn execute(
        &self,
        args: &[String],
        input: Option<InputWriter>,
        deadline: Instant,
    ) -> Result<ProcessResult, AttemptOutcome> {
        let limits = Limits {
            deadline,
            interrupted: Some(&self.context.interrupted),
            secrets: self.secrets,
        };
        process::run(self.command(args), input, &limits)
            .map_err(|error| AttemptOutcome::Unavailable(spawn_error(self.engine, &error)))
    }

    fn command(&self, args: &[String]) -> Command {
        let engine_args = &self.request.smoke.engine_args;
        self.engine.command(engine_args, self.context, args)
    }

    /// The error in an engine's output: the lines that start like one, or else the last three lines.
    fn error_lines(&self, output: &str) -> String {
        let output = self.hide_container_name(output);
        // Some versions of docker's client prefix the line with their name.
        let lines: Vec<_> = output
            .lines()
            .map(|line| line.trim().trim_start_matches("docker: "))
            .filter(|line| !line.is_empty())
            .collect();
        let errors: Vec<_> = lines
            .iter()
            .copied()
            .filter(|line| line.starts_with("Error") || line.starts_with("Cannot"))
            .collect();
        if errors.is_empty() {
            lines[lines.len().saturating_sub(3)..].join("; ")
        } else {
            errors.join("; ")
        }
    }

    fn hide_container_name(&self, output: &str) -> String {
        output.replace(&self.request.container, "the container")
    }
}

/// Whether the end of the engine does not determine if the command was started.
fn is_inconclusive(end: End) -> bool {
    match end {
        End::Exited(status) => matches!(status.code(), Some(125..=127)),
        End::TimedOut => true,
        End::Interrupted => false,
    }
}

/// Parses a line with a time, as RFC 3339 or in Go's format. The zero time, in year 1, means that the
/// container was never started.
fn parse_start_time(line: &str) -> Option<ContainerState> {
    let mut date = line.trim().splitn(3, '-');
    let year: u32 = date.next()?.parse().ok()?;
    let month: u32 = date.next()?.parse().ok()?;
    date.next()?;
    match (year, month) {
        (..=1, 1..=12) => Some(ContainerState::NeverStarted),
        (_, 1..=12) => Some(ContainerState::Started),
        _ => None,
    }
}

fn is_absence(output: &str) -> bool {
    output.to_ascii_lowercase().contains("no such container")
}

/// The time limit for a query to an engine.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the version or the error of each engine that a smoke command may use. The length of the
/// text is limited. It must be escaped before it is printed.
pub(crate) fn probe(
    engine: Engine,
    engine_args: &[String],
    context: &EngineContext,
) -> Vec<(EngineName, Result<String, String>)> {
    engines(engine)
        .iter()
        .map(|name| (*name, version(*name, engine_args, context)))
        .collect()
}

fn version(
    name: EngineName,
    engine_args: &[String],
    context: &EngineContext,
) -> Result<String, String> {
    let args: &[&str] = match name {
        EngineName::Podman => &["--version"],
        EngineName::Docker => &["version", "--format", "docker {{.Server.Version}}"],
    };
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let secrets = Secrets::from_variables(&[], &[]).map_err(|missing| missing.to_string())?;
    let limits = Limits {
        deadline: Instant::now() + PROBE_TIMEOUT,
        interrupted: Some(&context.interrupted),
        secrets: &secrets,
    };
    let result = process::run(name.command(engine_args, context, &args), None, &limits)
        .map_err(|error| spawn_error(name, &error))?;
    let mut lines: Vec<_> = result.output.lines().map(str::trim).collect();
    lines.retain(|line| !line.is_empty());
    let message = lines.join("; ");
    match result.end {
        End::Exited(status) if status.success() => Ok(message),
        End::Exited(status) if message.is_empty() => Err(status.to_string()),
        End::Exited(_) => Err(message),
        End::TimedOut => Err(format!("no response within {PROBE_TIMEOUT:?}")),
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

    #[test]
    fn zero_time_means_never_started() {
        for (line, state) in [
            (
                "0001-01-01 00:00:00 +0000 UTC",
                Some(ContainerState::NeverStarted),
            ),
            ("0001-01-01T00:00:00Z", Some(ContainerState::NeverStarted)),
            (
                "2026-11-20 09:27:31.233549518 +0000 UTC",
                Some(ContainerState::Started),
            ),
            (
                "2026-11-20T09:29:34.282030702Z",
                Some(ContainerState::Started),
            ),
            ("", None),
            ("time=\"2026-11-20\" level=warning", None),
            ("1-2", None),
            ("2026-13-01", None),
        ] {
            assert_eq!(parse_start_time(line), state, "{line}");
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
        let engine_args = ["--root".to_owned(), "/r".to_owned()];
        let found = probe(Engine::Auto, &engine_args, &context);
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
        assert_eq!(probe(Engine::Docker, &[], &context).len(), 1);
    }

    #[test]
    fn missing_program_is_named() {
        assert_eq!(
            spawn_error(EngineName::Docker, &io::ErrorKind::NotFound.into()),
            "`docker` was not found in PATH"
        );
    }
}
