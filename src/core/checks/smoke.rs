//! Verdicts on the run of the smoke command.
//!
//! `repin.set/1`: a verified set as a file with reproducible bytes.
//!
//! The document contains no time and no host name: two runs that verified the same images against the
//! same configuration write the same file, so its hash identifies both.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ApprovedImage, Check, Code, ImagePlatform, Status, VerifiedRow, VerifiedSet};
use crate::{
    base::{
        error::{Class, Error},
        untrusted::{self, tail},
    },
    config::{Config, Image, Revisions, Smoke, WhenUnavailable},
    contents::inventory::Enumeration,
    core::smoke::{Outcome, SmokeReport},
    oci::{
        Digest,
        registry::resolve::{self, ImageFacts, PlatformFacts},
    },
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

/// Names by kind.
type Kinds = BTreeMap<String, BTreeSet<String>>;

/// The document `repin.set/1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetDocument {
    pub schema: String,
    pub revision: String,
    pub images: Vec<SetImage>,
    pub checks: Vec<Check>,
    pub inventory: BTreeMap<String, Kinds>,
    pub config_sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetImage {
    #[serde(flatten)]
    pub image: ResolvedImage,
    pub verified: Vec<VerifiedRow>,
}

/// A verified set, with the further evidence about its images.
pub(crate) struct VerifiedImages {
    pub set: VerifiedSet,
    /// The signatures and attestations of each image, in the order of the configuration.
    pub verified: Vec<Vec<VerifiedRow>>,
    /// The names in platforms, by kind.
    pub kinds: BTreeMap<ImagePlatform, Enumeration>,
}

impl SetDocument {
    pub(crate) const SCHEMA: &str = "repin.set/1";

    /// The document of a set that was verified against the configuration with the hash
    /// `config_sha256`.
    pub(crate) fn new(found: VerifiedImages, config: &Config, config_sha256: Digest) -> Self {
        let mut images = Vec::new();
        let mut inventory = BTreeMap::new();
        let resolved = found.set.images().iter().zip(found.verified);
        for (index, (resolved, verified)) in resolved.enumerate() {
            let Some(resolved) = resolved else {
                continue;
            };
            let image = ResolvedImage::new(config, &config.images[index], resolved);
            images.push(SetImage::new(image, verified));
            inventory.extend(names_by_digest(index, &resolved.facts, &found.kinds));
        }
        Self {
            schema: Self::SCHEMA.to_owned(),
            revision: found.set.revision().to_string(),
            images,
            checks: found.set.checks().to_vec(),
            inventory,
            config_sha256: config_sha256.hex(),
        }
    }

    /// The bytes of the file, on one line.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        untrusted::json_line(self)
    }
}

impl SetImage {
    fn new(image: ResolvedImage, mut verified: Vec<VerifiedRow>) -> Self {
        // Registries list referrers in any order.
        verified.sort_by_cached_key(|row| serde_json::to_string(row).unwrap_or_default());
        Self { image, verified }
    }
}

/// The names in an image by its digest, or by the digests of its platforms if these differ.
fn names_by_digest(
    image: usize,
    facts: &ImageFacts,
    kinds: &BTreeMap<ImagePlatform, Enumeration>,
) -> Vec<(String, Kinds)> {
    let mut platforms: Vec<(String, Kinds)> = Vec::new();
    for (platform, facts) in facts.platforms.iter().enumerate() {
        if let Some(found) = kinds.get(&ImagePlatform { image, platform }) {
            let names = found.kinds.iter().cloned().collect();
            platforms.push((facts.digest.to_string(), names));
        }
    }
    match platforms.first() {
        Some((_, first)) if platforms.iter().all(|(_, names)| names == first) => {
            vec![(facts.digest.to_string(), first.clone())]
        }
        _ => platforms,
    }
}

/// The image that a tag resolved to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResolvedImage {
    pub name: String,
    pub repository: String,
    pub tag: String,
    pub digest: String,
    pub media_type: String,
    pub platforms: Vec<ResolvedPlatform>,
    pub labels: BTreeMap<String, Option<String>>,
}

impl ResolvedImage {
    pub(crate) fn new(config: &Config, image: &Image, found: &ApprovedImage) -> Self {
        let facts = &found.facts;
        let platforms = facts.platforms.iter();
        Self {
            name: image.name.clone(),
            repository: image.repository.to_string(),
            tag: found.tag.to_string(),
            digest: facts.digest.to_string(),
            media_type: facts.media_type.clone(),
            platforms: platforms
                .map(|platform| ResolvedPlatform::new(platform, &config.revision))
                .collect(),
            labels: resolve::reported_labels(facts, &config.report.labels),
        }
    }
}

/// One platform of a resolved image.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResolvedPlatform {
    pub platform: String,
    pub digest: String,
    pub revision: Option<String>,
}

impl ResolvedPlatform {
    /// The revision is the text in the label or the annotation that the configuration selects.
    fn new(facts: &PlatformFacts, revisions: &Revisions) -> Self {
        Self {
            platform: facts.platform.to_string(),
            digest: facts.digest.to_string(),
            revision: facts
                .stated_revision(revisions.field())
                .text()
                .map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::{self, Engine},
        core::smoke::EngineName,
        oci::{Platform, Tag},
    };

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

    #[test]
    fn evidence_is_sorted() {
        let config = config::example(
            "version: 1\nfiles: [x]\nimages: { a: { repository: r.example/a, pins: 1 } }\n",
        );
        let resolved = ApprovedImage {
            tag: Tag::parse("x").unwrap(),
            facts: ImageFacts {
                digest: Digest::of(b"a"),
                media_type: String::new(),
                platforms: Vec::new(),
            },
        };
        let row = |bundle: &str| VerifiedRow {
            require: "signature".to_owned(),
            subject: String::new(),
            platform: None,
            bundle: bundle.to_owned(),
            predicate_type: None,
            signer: None,
            issuer: None,
            source: None,
            commit: None,
            commit_bound: false,
            runner: None,
            key: None,
            root: None,
            time: None,
            log: None,
        };
        let rows = vec![row("b"), row("a")];
        let image = ResolvedImage::new(&config, &config.images[0], &resolved);
        let image = SetImage::new(image, rows);
        let bundles = image.verified.iter().map(|row| row.bundle.as_str());
        assert_eq!(bundles.collect::<Vec<_>>(), ["a", "b"]);
    }
}
