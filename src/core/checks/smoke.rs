//! Verdicts on the run of the smoke command.

use super::{Check, Code, Status};
use crate::{
    base::{
        error::{Class, Error},
        untrusted::tail,
    },
    config::{Smoke, WhenUnavailable},
    core::smoke::{Outcome, SmokeReport},
};

/// The maximum length of a command's output in a detail, in columns; its end is printed.
const MAX_OUTPUT: usize = 800;
/// The maximum length of an engine's error in a detail.
const MAX_ERROR: usize = 400;

/// The checks of one image, or the error that prevented them.
pub(crate) fn check_smoke(
    config: &Smoke,
    image: &str,
    report: &SmokeReport,
) -> Result<Vec<Check>, Error> {
    let check = |code, status, detail: String| {
        let check = Check::new(code, status, detail).image(image);
        if let Some(platform) = &report.platform {
            check.platform(platform)
        } else {
            check
        }
    };
    let (status, code, detail) = verdict(config, image, report)?;
    let mut checks = Vec::new();
    if code == Code::SMOKE_FAILED {
        // The engine's name is omitted, so that reports depend on the machine as little as possible.
        checks.push(check(
            Code::SMOKE_UNAVAILABLE,
            Status::Pass,
            "a container engine ran the command".to_owned(),
        ));
    }
    if let Some(container) = &report.unremoved_container {
        let detail = format!(
            "a container could not be removed: {}",
            tail(container, MAX_ERROR)
        );
        checks.push(check(Code::SMOKE_UNAVAILABLE, Status::Warn, detail));
    }
    checks.push(check(code, status, detail));
    Ok(checks)
}

fn verdict(
    config: &Smoke,
    image: &str,
    report: &SmokeReport,
) -> Result<(Status, Code, String), Error> {
    let command = quoted_command(&config.command);
    let unavailable = if config.when_unavailable == WhenUnavailable::Skip {
        Status::Skip
    } else {
        Status::Fail
    };
    Ok(match &report.outcome {
        Outcome::Passed => (
            Status::Pass,
            Code::SMOKE_FAILED,
            format!("{command} exited with 0{}", platforms_not_run(report)),
        ),
        Outcome::Failed {
            exit,
            output,
            engine,
        } => {
            let failure = match exit {
                Some(exit) => format!("exited with {exit}"),
                None => format!("did not finish: a signal ended {engine}"),
            };
            (
                Status::Fail,
                Code::SMOKE_FAILED,
                format!("{command} {failure}{}", end_of_output(output)),
            )
        }
        Outcome::TimedOut { output } => {
            let detail = format!(
                "{command} was killed after {:?}{}",
                config.timeout,
                end_of_output(output)
            );
            (Status::Fail, Code::SMOKE_FAILED, detail)
        }
        Outcome::Unavailable(errors) => {
            let errors: Vec<_> = errors
                .iter()
                .map(|(engine, error)| format!("{engine}: {}", tail(error, MAX_ERROR)))
                .collect();
            let errors = errors.join("; ");
            let detail = format!("no container engine could run {command}: {errors}");
            (unavailable, Code::SMOKE_UNAVAILABLE, detail)
        }
        Outcome::NoPlatform { machine } => {
            let detail = format!(
                "the image has no platform for this machine ({machine}){}",
                platforms_not_run(report)
            );
            (unavailable, Code::SMOKE_UNAVAILABLE, detail)
        }
        Outcome::UnreadableLayout(error) => return Err(error.clone()),
        Outcome::Interrupted => {
            return Err(Error::about(
                Class::Unavailable,
                format!("smoke command of `{image}`"),
                "interrupted",
            ));
        }
    })
}

fn platforms_not_run(report: &SmokeReport) -> String {
    if report.other_platforms.is_empty() {
        return String::new();
    }
    let others: Vec<_> = report
        .other_platforms
        .iter()
        .map(ToString::to_string)
        .collect();
    format!("; not run: {}", tail(&others.join(", "), MAX_ERROR))
}

fn end_of_output(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() {
        " and printed nothing".to_owned()
    } else {
        format!(": {}", tail(output, MAX_OUTPUT))
    }
}

fn quoted_command(command: &[String]) -> String {
    let words: Vec<_> = command.iter().map(|word| tail(word, MAX_ERROR)).collect();
    if words.is_empty() {
        "the image's own command".to_owned()
    } else {
        format!("`{}`", words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{config::Engine, core::smoke::EngineName, oci::Platform};

    fn result(
        outcome: Outcome,
        skip_when_unavailable: bool,
        unremoved_container: Option<&str>,
    ) -> (String, Option<Class>) {
        let config = Smoke {
            command: vec!["--version".to_owned()],
            user: None,
            env: Vec::new(),
            network: false,
            timeout: Duration::from_secs(60),
            engine: Engine::Auto,
            engine_args: Vec::new(),
            when_unavailable: if skip_when_unavailable {
                WhenUnavailable::Skip
            } else {
                WhenUnavailable::Refuse
            },
        };
        let platform = Platform {
            os: "linux".into(),
            architecture: "amd64".into(),
            variant: None,
            os_version: None,
        };
        let unremoved_container = unremoved_container.map(str::to_owned);
        let report = SmokeReport {
            platform: Some(platform),
            other_platforms: Vec::new(),
            outcome,
            unremoved_container,
        };
        let (checks, error) = match check_smoke(&config, "app", &report) {
            Ok(checks) => (checks, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let line =
            |check: &Check| format!("{} {}: {}", check.code, check.status.as_str(), check.detail);
        assert!(
            checks
                .iter()
                .all(|check| check.platform.as_deref() == Some("linux/amd64"))
        );
        (
            checks.iter().map(line).collect::<Vec<_>>().join("\n"),
            error.map(|error| error.class),
        )
    }

    #[test]
    fn each_outcome_has_its_code_and_status() {
        let engine = EngineName::Podman;
        let ran = "smoke_unavailable pass: a container engine ran the command\n";
        let lines = |outcome: Outcome, skip| result(outcome, skip, None).0;
        assert_eq!(
            lines(Outcome::Passed, false),
            format!("{ran}smoke_failed pass: `--version` exited with 0")
        );
        let failed = |exit, output: &str| {
            lines(
                Outcome::Failed {
                    engine,
                    exit,
                    output: output.to_owned(),
                },
                true,
            )
        };
        assert_eq!(
            failed(Some(3), " \n"),
            format!("{ran}smoke_failed fail: `--version` exited with 3 and printed nothing")
        );
        assert_eq!(
            failed(None, "x"),
            format!("{ran}smoke_failed fail: `--version` did not finish: a signal ended podman: x")
        );
        let timed_out = lines(
            Outcome::TimedOut {
                output: "a\nb\n".to_owned(),
            },
            true,
        );
        assert_eq!(
            timed_out,
            format!("{ran}smoke_failed fail: `--version` was killed after 60s: a\\nb")
        );
        let unavailable = || {
            Outcome::Unavailable(vec![
                (engine, "x".to_owned()),
                (EngineName::Docker, "y\n".to_owned()),
            ])
        };
        let detail = "no container engine could run `--version`: podman: x; docker: y\\n";
        assert_eq!(
            lines(unavailable(), false),
            format!("smoke_unavailable fail: {detail}")
        );
        assert_eq!(
            lines(unavailable(), true),
            format!("smoke_unavailable skip: {detail}")
        );
    }

    #[test]
    fn command_is_quoted() {
        assert_eq!(quoted_command(&[]), "the image's own command");
        let command = ["a".to_owned(), "b c".to_owned()];
        assert_eq!(quoted_command(&command), "`a b c`");
    }

    #[test]
    fn smoke_run_without_a_verdict_is_an_error() {
        let broken = Error::unavailable("blob", "short");
        for outcome in [Outcome::Interrupted, Outcome::UnreadableLayout(broken)] {
            assert_eq!(
                result(outcome, true, None),
                (String::new(), Some(Class::Unavailable))
            );
        }
    }

    #[test]
    fn unremoved_container_warns_after_a_pass() {
        let (lines, _) = result(Outcome::Passed, false, Some("c (docker: \u{1b})"));
        assert!(
            lines.contains(
                "smoke_unavailable warn: a container could not be removed: c (docker: \\u{1b})"
            ),
            "{lines}"
        );
    }

    #[test]
    fn long_output_is_cut_at_its_start() {
        let output = format!("{}end", "x".repeat(5000));
        let (lines, _) = result(
            Outcome::Failed {
                engine: EngineName::Podman,
                exit: Some(1),
                output,
            },
            false,
            None,
        );
        assert!(
            lines.ends_with("xend") && lines.contains(": …xxx") && lines.len() < 1000,
            "{lines}"
        );
    }
}
