//! Verdicts on the run of the smoke command: it ran, and it exited with 0.

use super::{Check, Code, Status};
use crate::{
    config::Smoke,
    error::{Class, Error},
    smoke::{EngineName, Outcome, SmokeReport},
    untrusted::tail,
};

/// How much of a command's output a detail shows, in columns; the end is kept.
const OUTPUT_SHOWN: usize = 800;
/// How much of an engine's error a detail shows.
const ERROR_SHOWN: usize = 400;

/// The checks of one image, and the error that left it unjudged.
pub fn smoke(config: &Smoke, image: &str, smoked: &SmokeReport) -> Result<Vec<Check>, Error> {
    let check = |code, status, detail: String| {
        let check = Check::new(code, status, detail).image(image);
        if let Some(platform) = &smoked.platform {
            check.platform(platform)
        } else {
            check
        }
    };
    let (status, code, detail) = verdict(config, image, smoked)?;
    let mut checks = Vec::new();
    if code == Code::SMOKE_FAILED {
        // Without the engine's name, so that reports depend on the machine as little as possible.
        checks.push(check(
            Code::SMOKE_UNAVAILABLE,
            Status::Pass,
            "a container engine ran the command".to_owned(),
        ));
    }
    if let Some(container) = &smoked.unremoved_container {
        let detail = format!(
            "a container could not be removed: {}",
            tail(container, ERROR_SHOWN)
        );
        checks.push(check(Code::SMOKE_UNAVAILABLE, Status::Warn, detail));
    }
    checks.push(check(code, status, detail));
    Ok(checks)
}

fn verdict(
    config: &Smoke,
    image: &str,
    smoked: &SmokeReport,
) -> Result<(Status, Code, String), Error> {
    let command = shown(&config.command);
    let unavailable = if config.skip_when_unavailable {
        Status::Skip
    } else {
        Status::Fail
    };
    Ok(match &smoked.outcome {
        Outcome::Passed { .. } => (
            Status::Pass,
            Code::SMOKE_FAILED,
            format!("{command} exited with 0{}", not_run(smoked)),
        ),
        Outcome::Failed {
            exit,
            output,
            engine,
        } => {
            let exit = exit.map(|exit| format!("exited with {exit}"));
            let how = exit.unwrap_or_else(|| format!("did not finish: a signal ended {engine}"));
            (
                Status::Fail,
                Code::SMOKE_FAILED,
                format!("{command} {how}{}", printed(output)),
            )
        }
        Outcome::TimedOut { output, .. } => {
            let detail = format!(
                "{command} was killed after {:?}{}",
                config.timeout,
                printed(output)
            );
            (Status::Fail, Code::SMOKE_FAILED, detail)
        }
        Outcome::Unavailable(errors) => {
            let detail = format!("no container engine could run {command}: {}", each(errors));
            (unavailable, Code::SMOKE_UNAVAILABLE, detail)
        }
        Outcome::NoPlatform { machine } => {
            let detail = format!(
                "the image has no platform for this machine ({machine}){}",
                not_run(smoked)
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

fn each(errors: &[(EngineName, String)]) -> String {
    let each = errors
        .iter()
        .map(|(engine, error)| format!("{engine}: {}", tail(error, ERROR_SHOWN)));
    each.collect::<Vec<_>>().join("; ")
}

fn not_run(smoked: &SmokeReport) -> String {
    if smoked.other_platforms.is_empty() {
        return String::new();
    }
    let others: Vec<_> = smoked
        .other_platforms
        .iter()
        .map(ToString::to_string)
        .collect();
    format!("; not run: {}", tail(&others.join(", "), ERROR_SHOWN))
}

fn printed(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() {
        " and printed nothing".to_owned()
    } else {
        format!(": {}", tail(output, OUTPUT_SHOWN))
    }
}

fn shown(command: &[String]) -> String {
    let words: Vec<_> = command.iter().map(|word| tail(word, ERROR_SHOWN)).collect();
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
    use crate::{config::Engine, oci::Platform};

    fn judged(
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
            skip_when_unavailable,
        };
        let platform = Platform {
            os: "linux".into(),
            architecture: "amd64".into(),
            variant: None,
            os_version: None,
        };
        let unremoved_container = unremoved_container.map(str::to_owned);
        let smoked = SmokeReport {
            platform: Some(platform),
            other_platforms: Vec::new(),
            outcome,
            unremoved_container,
        };
        let (checks, error) = match smoke(&config, "app", &smoked) {
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
        let of = |outcome: Outcome, skip| judged(outcome, skip, None).0;
        assert_eq!(
            of(Outcome::Passed { engine }, false),
            format!("{ran}smoke_failed pass: `--version` exited with 0")
        );
        let failed = |exit, output: &str| {
            of(
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
        let timed_out = of(
            Outcome::TimedOut {
                engine,
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
            of(unavailable(), false),
            format!("smoke_unavailable fail: {detail}")
        );
        assert_eq!(
            of(unavailable(), true),
            format!("smoke_unavailable skip: {detail}")
        );
    }

    #[test]
    fn a_command_is_shown_in_words() {
        assert_eq!(shown(&[]), "the image's own command");
        assert_eq!(shown(&["a".to_owned(), "b c".to_owned()]), "`a b c`");
    }

    #[test]
    fn smoke_run_without_a_verdict_is_an_error() {
        let broken = Error::unavailable("blob", "short");
        for outcome in [Outcome::Interrupted, Outcome::UnreadableLayout(broken)] {
            assert_eq!(
                judged(outcome, true, None),
                (String::new(), Some(Class::Unavailable))
            );
        }
    }

    #[test]
    fn a_container_that_stays_is_said_also_beside_a_pass() {
        let (lines, _) = judged(
            Outcome::Passed {
                engine: EngineName::Docker,
            },
            false,
            Some("c (docker: \u{1b})"),
        );
        assert!(
            lines.contains(
                "smoke_unavailable warn: a container could not be removed: c (docker: \\u{1b})"
            ),
            "{lines}"
        );
    }

    #[test]
    fn long_output_is_shown_from_its_end() {
        let output = format!("{}end", "x".repeat(5000));
        let (lines, _) = judged(
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
