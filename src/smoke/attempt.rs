//! One engine's attempt: get the image, run the command, attribute a failure to the image or the
//! engine, leave nothing behind.
//!
//! An engine exits with 125, 126 or 127 if it could not run the command, and also if the command
//! exited so. Which of the two it was decides between a verdict about the image and none, so the
//! engine is asked whether the container started.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    EngineContext, ImageLocation, Outcome, Request, Secrets,
    archive::Archive,
    engine::{EngineName, Image},
    probe::unstarted,
    process::{self, Bounds, End, Feed, Ran},
};
use crate::registry::resolve::PlatformFacts;

/// The time limit for a query to an engine.
const ANSWER: Duration = Duration::from_secs(5);
/// The time limit for removing a container or an image.
const REMOVAL: Duration = Duration::from_secs(30);

/// What an engine says about a container that never started, if the image or the command is why.
const IMAGES_FAULT: &[&str] = &[
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

/// One engine, about to run one image.
pub(super) struct Attempt<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) chosen: &'a PlatformFacts,
    pub(super) secrets: &'a Secrets,
    pub(super) around: &'a EngineContext,
    pub(super) engine: EngineName,
}

/// What an attempt came to.
pub(super) enum AttemptOutcome {
    /// The engine could not run it, for this reason.
    Unavailable(String),
    /// There is an outcome.
    Ended(Outcome),
}

/// An attempt that is over.
pub(super) struct AttemptResult {
    pub(super) tried: AttemptOutcome,
    pub(super) left_behind: Option<String>,
}

/// The outcome of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContainerState {
    /// Its command was started.
    Started,
    /// It is missing, or it never started.
    NeverStarted,
    /// The engine returned malformed output.
    Unknown,
    /// The engine did not answer.
    Silent,
}

impl Attempt<'_> {
    /// Runs it, and cleans up.
    pub(super) fn run(&self) -> AttemptResult {
        let until = Instant::now() + self.request.smoke.timeout;
        let (image, brought) = match self.image(until) {
            Ok(image) => image,
            Err(tried) => {
                return AttemptResult {
                    tried,
                    left_behind: None,
                };
            }
        };
        let ran = match self.call(&self.engine.run(self.request, &image), None, until) {
            Ok(ran) => ran,
            Err(error) => {
                return AttemptResult {
                    tried: AttemptOutcome::Unavailable(unstarted(self.engine, &error)),
                    left_behind: None,
                };
            }
        };
        let state = if needs_state(ran.end) {
            self.state()
        } else {
            ContainerState::Started
        };
        let patience = if state == ContainerState::Silent {
            ANSWER
        } else {
            REMOVAL
        };
        if state != ContainerState::Silent
            && !matches!(ran.end, End::Exited(status) if status.code().is_some())
        {
            // It may still run, and removing alone would first ask it to end and wait.
            let _ = self.ask(
                &["kill", "--signal=KILL", &self.request.container],
                patience,
            );
        }
        let tried = self.judge(&ran, state);
        let left_behind = self.remove(patience);
        if let (true, Image::Id(id)) = (brought, &image) {
            // Another process may use it by now: then the engine refuses, and the image stays.
            let _ = self.ask(&["rmi", id], patience);
        }
        // An engine that could not run a container is not asked twice why it cannot remove one.
        let left_behind = left_behind.filter(|_| matches!(tried, AttemptOutcome::Ended(_)));
        AttemptResult { tried, left_behind }
    }

    /// The image as `run` is given it, and whether it was brought into the engine's storage for
    /// that.
    fn image(&self, until: Instant) -> Result<(Image, bool), AttemptOutcome> {
        match self.request.place {
            ImageLocation::Registry { name, plain } => {
                let platform = format!(
                    "{}/{}",
                    self.chosen.platform.os, self.chosen.platform.architecture
                );
                let text = format!("{name}@{}", self.request.image.digest);
                Ok((
                    Image::Reference {
                        text,
                        plain: *plain,
                        platform,
                    },
                    false,
                ))
            }
            ImageLocation::Layout(directory) => {
                let id = self.chosen.manifest.config.digest.to_string();
                let there = self.ask(&["image", "inspect", "--format={{.Id}}", &id], ANSWER);
                let there = there
                    .map_err(|error| AttemptOutcome::Unavailable(unstarted(self.engine, &error)))?;
                let there = matches!(there.end, End::Exited(status) if status.success());
                if !there {
                    self.load(Archive::new(directory, &self.chosen.manifest), until)?;
                }
                Ok((Image::Id(id), !there))
            }
        }
    }

    fn load(&self, archive: Archive, until: Instant) -> Result<(), AttemptOutcome> {
        let feed: Feed = Box::new(move |out| archive.write(out));
        let ran = self.call(&["load".to_owned()], Some(feed), until);
        let ran =
            ran.map_err(|error| AttemptOutcome::Unavailable(unstarted(self.engine, &error)))?;
        if let Some(error) = ran.unfed {
            return Err(AttemptOutcome::Ended(Outcome::Unread(error)));
        }
        let reason = match ran.end {
            End::Exited(status) if status.success() => return Ok(()),
            End::Exited(_) => format!("cannot load the image: {}", self.error(&ran.output)),
            End::OutOfTime => format!(
                "did not load the image within {:?}",
                self.request.smoke.timeout
            ),
            End::Interrupted => return Err(AttemptOutcome::Ended(Outcome::Interrupted)),
        };
        Err(AttemptOutcome::Unavailable(reason))
    }

    fn judge(&self, ran: &Ran, state: ContainerState) -> AttemptOutcome {
        let engine = self.engine;
        let output = ran.output.replace(&self.request.container, "the container");
        let status = match ran.end {
            End::Interrupted => return AttemptOutcome::Ended(Outcome::Interrupted),
            End::OutOfTime if state == ContainerState::NeverStarted => {
                let timeout = self.request.smoke.timeout;
                let error = format!(
                    "started no container within {timeout:?}, including the time to fetch the image"
                );
                return AttemptOutcome::Unavailable(match self.error(&output).as_str() {
                    "" => error,
                    said => format!("{error}: {said}"),
                });
            }
            End::OutOfTime => return AttemptOutcome::Ended(Outcome::TimedOut { engine, output }),
            End::Exited(status) if status.success() => {
                return AttemptOutcome::Ended(Outcome::Passed { engine });
            }
            End::Exited(status) => status,
        };
        let error = self.error(&output);
        let engines_own = match state {
            ContainerState::Started => false,
            ContainerState::NeverStarted => !IMAGES_FAULT.iter().any(|text| error.contains(text)),
            ContainerState::Unknown | ContainerState::Silent => status.code() == Some(125),
        };
        if engines_own {
            return AttemptOutcome::Unavailable(if error.is_empty() {
                status.to_string()
            } else {
                error
            });
        }
        AttemptOutcome::Ended(Outcome::Failed {
            engine,
            exit: status.code(),
            output,
        })
    }

    /// Whether the container's command was ever started.
    fn state(&self) -> ContainerState {
        let args = [
            "inspect",
            "--type=container",
            "--format={{.State.StartedAt}}",
            &self.request.container,
        ];
        let Ok(ran) = self.ask(&args, ANSWER) else {
            return ContainerState::Silent;
        };
        match ran.end {
            End::Exited(status) if status.success() => ran
                .output
                .lines()
                .find_map(started)
                .unwrap_or(ContainerState::Unknown),
            End::Exited(_) if is_absence(&ran.output) => ContainerState::NeverStarted,
            End::Exited(_) => ContainerState::Unknown,
            End::OutOfTime | End::Interrupted => ContainerState::Silent,
        }
    }

    /// Removes the container, dead or alive; why it could not be.
    fn remove(&self, patience: Duration) -> Option<String> {
        let why = match self.ask(
            &["rm", "--force", "--volumes", &self.request.container],
            patience,
        ) {
            Ok(Ran {
                end: End::Exited(status),
                output,
                ..
            }) => {
                if status.success() || is_absence(&output) {
                    return None;
                }
                self.error(&output)
            }
            Ok(_) => format!("no response within {patience:?}"),
            Err(error) => unstarted(self.engine, &error),
        };
        Some(format!(
            "{} ({}: {why})",
            self.request.container, self.engine
        ))
    }

    /// Asks the engine something; also while the run is being interrupted.
    fn ask(&self, args: &[&str], patience: Duration) -> io::Result<Ran> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let until = Instant::now() + patience;
        self.start(
            &args,
            None,
            &Bounds {
                until,
                interrupted: None,
                secrets: self.secrets,
            },
        )
    }

    /// Makes the engine do something within the run's time.
    fn call(&self, args: &[String], feed: Option<Feed>, until: Instant) -> io::Result<Ran> {
        let interrupted = Some(self.around.interrupted.as_ref());
        self.start(
            args,
            feed,
            &Bounds {
                until,
                interrupted,
                secrets: self.secrets,
            },
        )
    }

    fn start(&self, args: &[String], feed: Option<Feed>, bounds: &Bounds<'_>) -> io::Result<Ran> {
        process::run(
            self.engine.command(self.request.smoke, self.around, args),
            feed,
            bounds,
        )
    }

    /// What of an engine's output is its error: the lines that say so, or else the last ones.
    fn error(&self, output: &str) -> String {
        let output = output.replace(&self.request.container, "the container");
        // docker's client puts its own name first, some versions of it.
        let lines = output
            .lines()
            .map(|line| line.trim().trim_start_matches("docker: "));
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        let says_so = |line: &&&str| {
            ["Error", "Cannot"]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let errors: Vec<_> = lines.iter().filter(says_so).copied().collect();
        if errors.is_empty() {
            lines[lines.len().saturating_sub(3)..].join("; ")
        } else {
            errors.join("; ")
        }
    }
}

/// Whether the exit code alone is inconclusive.
fn needs_state(end: End) -> bool {
    match end {
        End::Exited(status) => matches!(status.code(), Some(125..=127)),
        End::OutOfTime => true,
        End::Interrupted => false,
    }
}

/// A line with a time, `2026-01-02T03:04:05Z` or as Go prints it; the zero time is year 1.
fn started(line: &str) -> Option<ContainerState> {
    let mut date = line.trim().splitn(3, '-');
    let year: u32 = date.next()?.parse().ok()?;
    let month: u32 = date.next()?.parse().ok()?;
    ((1..=12).contains(&month) && date.next().is_some()).then_some(if year > 1 {
        ContainerState::Started
    } else {
        ContainerState::NeverStarted
    })
}

fn is_absence(output: &str) -> bool {
    output.to_ascii_lowercase().contains("no such container")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zero_time_is_never() {
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
            assert_eq!(started(line), state, "{line}");
        }
    }
}
