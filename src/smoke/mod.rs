//! The smoke command: does it work in the image, as a container engine runs it?
//!
//! One image at a time: a [`Request`] comes in, a [`SmokeReport`] goes out; `checks` judges it.
//! Nothing is read from the process's environment and nothing is printed: variables, names and the
//! flag that interrupts a run are passed in. Blocking: it waits for processes, so run it in a
//! thread.
//!
//! The engine fetches the image by itself, by digest and with its own credentials, from the
//! registry that repin read; for an image layout it is handed an archive of verified blobs. The
//! deadline counts both, the fetching and the run.

mod archive;
mod attempt;
mod capture;
mod engine;
mod probe;
mod process;
mod secrets;
mod tree;

use std::{ffi::OsString, path::PathBuf, sync::atomic::AtomicBool};

use crate::{
    config::{Engine, Smoke, Where},
    error::Error,
    oci::{Platform, Repository},
    registry::resolve::{ImageFacts, PlatformFacts},
};

pub use engine::EngineName;
pub use probe::probe;
pub use secrets::{MissingSecret, Secrets};

use self::attempt::{Attempt, AttemptOutcome};

/// Where an engine gets the image from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageLocation {
    /// A repository of a registry.
    Registry {
        /// `HOST[:PORT]/PATH`.
        name: String,
        /// Plain HTTP. podman needs a flag; docker uses it for loopback addresses and for
        /// registries that its daemon lists.
        plain: bool,
    },
    /// An OCI image layout in this directory.
    Layout(PathBuf),
}

/// One run of the smoke command.
pub struct Request<'r> {
    /// What is run, and how.
    pub smoke: &'r Smoke,
    /// The name that the image is pinned by.
    pub repository: &'r Repository,
    /// What the image is.
    pub image: &'r ImageFacts,
    /// Where its bytes are.
    pub place: &'r ImageLocation,
    /// The container's name: letters, digits, `-` and `_`, and no other run's.
    pub container: String,
}

/// What surrounds every run.
pub struct EngineContext {
    /// The whole environment of the engine; `smoke.env` is taken from it.
    pub variables: Vec<(OsString, OsString)>,
    /// This machine's architecture, as Rust calls it: `x86_64`, `aarch64`.
    pub machine: String,
    /// Set (by a signal's handler): kill what runs, clean up, come back.
    pub interrupted: std::sync::Arc<AtomicBool>,
}

/// What happened.
#[derive(Debug, Clone)]
pub struct SmokeReport {
    /// The platform that was run, or would have been; `None`: the image has none for this machine.
    pub platform: Option<Platform>,
    /// The platforms of the image that this machine does not run.
    pub others: Vec<Platform>,
    /// How it ended.
    pub outcome: Outcome,
    /// A container that could not be removed, and why.
    pub left_behind: Option<String>,
}

/// How a smoke run ended. Output is free of secrets, capped, and else as it came: escape it before
/// it is shown.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The command exited with 0.
    Passed {
        /// What ran it.
        engine: EngineName,
    },
    /// The command failed, or the image has no such command.
    Failed {
        /// What ran it.
        engine: EngineName,
        /// `None`: a signal ended the engine.
        exit: Option<i32>,
        /// Standard output and standard error as they came.
        output: String,
    },
    /// The command was still running when its time was over. It is dead.
    TimedOut {
        /// What ran it.
        engine: EngineName,
        /// Standard output and standard error until then.
        output: String,
    },
    /// No engine got as far as running the command: each with its own error.
    Unavailable(Vec<(EngineName, String)>),
    /// The image has no platform that this machine runs.
    NoPlatform {
        /// `linux/…`.
        machine: String,
    },
    /// The layout lacks a blob, or it does not verify.
    Unread(Error),
    /// Someone stopped the run. What ran is dead.
    Interrupted,
}

impl ImageLocation {
    /// Where an engine finds `repository`; `mapping` is
    /// [`Sources::mapping`](crate::registry::Sources::mapping) of it.
    pub fn of(repository: &Repository, mapping: Option<(&Where, String)>) -> Self {
        match mapping {
            Some((Where::Layouts(directory), rest)) => Self::Layout(directory.join(rest)),
            Some((Where::Registry(endpoint), rest)) => {
                let parts = [endpoint.host.as_str(), &endpoint.path, &rest];
                let name = parts
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join("/");
                Self::Registry {
                    name,
                    plain: endpoint.plain,
                }
            }
            None => Self::Registry {
                name: repository.canonical(),
                plain: is_loopback(repository.host()),
            },
        }
    }
}

/// Whether a host with an optional port is this machine.
fn is_loopback(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address
            .split_once(']')
            .is_some_and(|(address, _)| address == "::1");
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name == "localhost"
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Runs the command in the image, once, on the platform of this machine, by the first engine that
/// can.
pub fn run(request: &Request<'_>, secrets: &Secrets, around: &EngineContext) -> SmokeReport {
    let machine = architecture(&around.machine);
    let (fitting, others) = request
        .image
        .platforms
        .iter()
        .partition::<Vec<_>, _>(|facts| runs_on(facts, machine));
    let others = others
        .into_iter()
        .map(|facts| facts.platform.clone())
        .collect();
    let Some(chosen) = fitting.first() else {
        let outcome = Outcome::NoPlatform {
            machine: format!("linux/{machine}"),
        };
        return SmokeReport {
            platform: None,
            others,
            outcome,
            left_behind: None,
        };
    };
    let mut left_behind = None;
    let mut errors = Vec::new();
    let mut outcome = None;
    for engine in engines(request.smoke.engine).iter().copied() {
        let tried = Attempt {
            request,
            chosen,
            secrets,
            around,
            engine,
        }
        .run();
        left_behind = left_behind.or(tried.left_behind);
        match tried.tried {
            AttemptOutcome::Unavailable(error) => errors.push((engine, error)),
            AttemptOutcome::Ended(ended) => {
                outcome = Some(ended);
                break;
            }
        }
    }
    let outcome = outcome.unwrap_or(Outcome::Unavailable(errors));
    SmokeReport {
        platform: Some(chosen.platform.clone()),
        others,
        outcome,
        left_behind,
    }
}

fn engines(configured: Engine) -> &'static [EngineName] {
    match configured {
        Engine::Auto => &[EngineName::Podman, EngineName::Docker],
        Engine::Podman => &[EngineName::Podman],
        Engine::Docker => &[EngineName::Docker],
    }
}

/// Engines run Linux images wherever they are, in a virtual machine if need be.
fn runs_on(facts: &PlatformFacts, machine: &str) -> bool {
    facts.platform.os == "linux" && facts.platform.architecture == machine
}

/// Rust's name of an architecture as the image specification writes it (Go's `GOARCH`).
fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn place(repository: &str, mapping: Option<(&str, &str)>) -> ImageLocation {
        let mapping =
            mapping.map(|(place, rest)| (Where::parse(place, Path::new("/base")).unwrap(), rest));
        ImageLocation::of(
            &Repository::parse(repository).unwrap(),
            mapping
                .as_ref()
                .map(|(place, rest)| (place, (*rest).to_owned())),
        )
    }

    fn registry(name: &str, plain: bool) -> ImageLocation {
        ImageLocation::Registry {
            name: name.to_owned(),
            plain,
        }
    }

    #[test]
    fn engines_look_where_repin_looked() {
        assert_eq!(
            place("nginx", None),
            registry("docker.io/library/nginx", false)
        );
        assert_eq!(
            place("GHCR.io/acme/app", None),
            registry("ghcr.io/acme/app", false)
        );
        assert_eq!(
            place("ghcr.io/acme/app", Some(("oci:images", "app"))),
            ImageLocation::Layout("/base/images/app".into())
        );
        assert_eq!(
            place("ghcr.io/a/b", Some(("https://m.example/x", "b"))),
            registry("m.example/x/b", false)
        );
        assert_eq!(
            place("ghcr.io/a/b", Some(("http://m.example", "a/b"))),
            registry("m.example/a/b", true)
        );
        assert_eq!(
            place("ghcr.io/a/b", Some(("http://m.example/c", ""))),
            registry("m.example/c", true)
        );
        assert_eq!(
            place("ghcr.io/a/b", Some(("https://127.0.0.1:5000", "b"))),
            registry("127.0.0.1:5000/b", false)
        );
    }

    #[test]
    fn loopback_is_plain() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example:5000",
            "128.0.0.1",
            "127.0.0.1.example",
            "[::2]:5000",
            "ghcr.io",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
        assert_eq!(
            place("localhost:5000/app", None),
            registry("localhost:5000/app", true)
        );
    }

    #[test]
    fn architectures_have_the_specifications_names() {
        assert_eq!(
            ["x86_64", "aarch64", "riscv64", "s390x"].map(architecture),
            ["amd64", "arm64", "riscv64", "s390x"]
        );
    }
}
