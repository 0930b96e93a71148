//! Runs the smoke command in an image with a container engine.
//!
//! The input is a [`Request`] for one image; the output is a [`SmokeReport`], which `checks`
//! evaluates. The caller passes the variables, the names and the interrupt flag. The module blocks
//! while processes run, so it needs its own thread.
//!
//! The engine fetches the image by digest, with its own credentials, from the registry that repin
//! used. For an image layout, it loads an archive of verified blobs. The timeout includes the fetch
//! and the run.
//!
//! The command lines of container engines.
//!
//! Both engines accept the same arguments, with the exceptions in this file. The arguments contain
//! the variables of `smoke.env`, but not the values: the engine takes them from its environment.

mod archive;
mod attempt;
mod process;

use std::{ffi::OsString, fmt, path::PathBuf, process::Command, sync::atomic::AtomicBool};

use self::attempt::{Attempt, AttemptOutcome};
use crate::{
    base::{error::Error, http::address::is_loopback, text::words},
    config::{Engine, Smoke},
    oci::{
        Platform, Repository,
        registry::{
            SourceLocation,
            resolve::{ImageFacts, PlatformFacts},
        },
    },
};

pub(crate) use attempt::probe;
pub(crate) use process::Secrets;

/// The source of the image for an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageLocation {
    /// A repository in a registry.
    Registry {
        /// The name: `HOST[:PORT]/PATH`.
        name: String,
        /// Whether the registry uses plain HTTP. podman needs a flag; docker uses plain HTTP for loopback
        /// addresses and for the insecure registries of its daemon.
        plain: bool,
    },
    /// The directory of an OCI image layout.
    Layout(PathBuf),
}

/// One run of the smoke command.
pub(crate) struct Request<'r> {
    /// The configuration of the command.
    pub smoke: &'r Smoke,
    /// The repository of the pinned image.
    pub repository: &'r Repository,
    /// The digest and the platforms of the image.
    pub image: &'r ImageFacts,
    /// The source of the image.
    pub location: &'r ImageLocation,
    /// The container's unique name, of letters, digits, `-` and `_`.
    pub container: String,
}

/// The properties of this process and machine that every run needs.
pub(crate) struct EngineContext {
    /// The complete environment of the engine, including the variables of `smoke.env`.
    pub variables: Vec<(OsString, OsString)>,
    /// This machine's architecture, as in Rust: `x86_64`, `aarch64`.
    pub machine: String,
    /// A signal handler sets this flag to kill the running command and clean up.
    pub interrupted: std::sync::Arc<AtomicBool>,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub(crate) struct SmokeReport {
    /// The platform for this machine, or `None` if the image has none.
    pub platform: Option<Platform>,
    /// The platforms of the image that this machine does not run.
    pub other_platforms: Vec<Platform>,
    pub outcome: Outcome,
    /// A container that could not be removed, with the reason.
    pub unremoved_container: Option<String>,
}

/// The outcome of a run. Secrets in the output are masked and its length is limited. It must be escaped
/// before it is printed.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The command exited with 0.
    Passed,
    /// The command failed, or the image does not contain it.
    Failed {
        /// The engine of the run.
        engine: EngineName,
        /// The exit code, or `None` if a signal killed the engine.
        exit: Option<i32>,
        /// Standard output and standard error, interleaved.
        output: String,
    },
    /// The command exceeded the timeout and was killed.
    TimedOut {
        /// Standard output and standard error, interleaved.
        output: String,
    },
    /// No engine could run the command: the error of each.
    Unavailable(Vec<(EngineName, String)>),
    /// The image has no platform for this machine.
    NoPlatform {
        /// The platform of this machine: `linux/…`.
        machine: String,
    },
    /// A blob of the layout is missing or does not match its digest.
    UnreadableLayout(Error),
    /// The run was interrupted and the command was killed.
    Interrupted,
}

impl ImageLocation {
    /// The location of `repository`, given its
    /// [`Sources::mapping`](crate::oci::registry::Sources::mapping).
    pub(crate) fn for_repository(
        repository: &Repository,
        mapping: Option<(&SourceLocation, String)>,
    ) -> Self {
        match mapping {
            Some((SourceLocation::Layouts(directory), rest)) => {
                Self::Layout(directory.path.join(rest))
            }
            Some((SourceLocation::Registry(endpoint), rest)) => {
                let mut parts = vec![endpoint.host.as_str(), &endpoint.path, &rest];
                parts.retain(|part| !part.is_empty());
                Self::Registry {
                    name: parts.join("/"),
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

/// Runs the command in the image once, on the platform of this machine, with the first available
/// engine.
pub(crate) fn run(
    request: &Request<'_>,
    secrets: &Secrets,
    context: &EngineContext,
) -> SmokeReport {
    let machine = architecture(&context.machine);
    let (supported, other): (Vec<_>, Vec<_>) = request
        .image
        .platforms
        .iter()
        .partition(|facts| runs_on(facts, machine));
    let mut report = SmokeReport {
        platform: None,
        other_platforms: other
            .into_iter()
            .map(|facts| facts.platform.clone())
            .collect(),
        outcome: Outcome::NoPlatform {
            machine: format!("linux/{machine}"),
        },
        unremoved_container: None,
    };
    let Some(platform) = supported.first() else {
        return report;
    };
    report.platform = Some(platform.platform.clone());
    let mut errors = Vec::new();
    for &engine in engines(request.smoke.engine) {
        let attempt = Attempt {
            request,
            platform,
            secrets,
            context,
            engine,
        };
        let result = attempt.run();
        report.unremoved_container = report.unremoved_container.or(result.unremoved_container);
        match result.outcome {
            AttemptOutcome::Unavailable(error) => errors.push((engine, error)),
            AttemptOutcome::Finished(outcome) => {
                report.outcome = outcome;
                return report;
            }
        }
    }
    report.outcome = Outcome::Unavailable(errors);
    report
}

fn engines(configured: Engine) -> &'static [EngineName] {
    match configured {
        Engine::Auto => &[EngineName::Podman, EngineName::Docker],
        Engine::Podman => &[EngineName::Podman],
        Engine::Docker => &[EngineName::Docker],
    }
}

/// Engines run Linux images on every system, if necessary in a virtual machine.
fn runs_on(facts: &PlatformFacts, machine: &str) -> bool {
    facts.platform.os == "linux" && facts.platform.architecture == machine
}

/// Converts Rust's name of an architecture to the name in the image specification (Go's `GOARCH`).
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

words! {
    /// A container engine.
    pub(crate) enum EngineName {
        /// podman
        Podman = "podman",
        /// docker
        Docker = "docker",
    }
}

/// Global flags, which precede the subcommand and have a value. They select the storage or the daemon,
/// so the commands that manage the container need them as well as `run`.
const PODMAN_GLOBAL_FLAGS: &[&str] = &[
    "--cgroup-manager",
    "--connection",
    "--conmon",
    "--events-backend",
    "--hooks-dir",
    "--identity",
    "--log-level",
    "--network-cmd-path",
    "--network-config-dir",
    "--root",
    "--runroot",
    "--runtime",
    "--runtime-flag",
    "--storage-driver",
    "--storage-opt",
    "--tmpdir",
    "--url",
    "--volumepath",
];
const DOCKER_GLOBAL_FLAGS: &[&str] = &[
    "--config",
    "--context",
    "--host",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
];

/// An image as passed to an engine.
enum Image {
    /// An image in a registry.
    Reference {
        /// `NAME@sha256:…`.
        text: String,
        /// Whether the registry uses plain HTTP.
        plain: bool,
        /// `os/architecture`.
        platform: String,
    },
    /// The ID of an image in the engine's storage.
    Id(String),
}

impl EngineName {
    /// The command line of the engine, with only the variables of the context.
    fn command(self, engine_args: &[String], context: &EngineContext, args: &[String]) -> Command {
        let (global, _) = self.split_flags(engine_args);
        let mut command = Command::new(self.as_str());
        command
            .env_clear()
            .envs(context.variables.iter().map(|(name, value)| (name, value)));
        command.args(global).args(args);
        command
    }

    /// The arguments of `run`. The flags that repin guarantees follow the configured ones, so that they
    /// take precedence.
    fn run_args(self, request: &Request<'_>, image: &Image) -> Vec<String> {
        let smoke = request.smoke;
        let (_, flags) = self.split_flags(&smoke.engine_args);
        let mut args = vec!["run".to_owned()];
        args.extend(flags.into_iter().map(str::to_owned));
        args.push(format!("--name={}", request.container));
        args.push(format!(
            "--label=repin.image={}@{}",
            request.repository.canonical(),
            request.image.digest
        ));
        // The container must remain until `inspect` reports whether it started: 125 to 127 can be
        // exit codes of the engine or of the command.
        args.extend(
            [
                "--rm=false",
                "--detach=false",
                "--log-driver=none",
                "--no-healthcheck",
            ]
            .map(str::to_owned),
        );
        if !smoke.network {
            args.push("--network=none".to_owned());
        }
        if self == Self::Podman {
            args.push("--quiet".to_owned());
            if !smoke.network {
                // podman passes the proxy variables to the container, and they may contain passwords.
                args.push("--http-proxy=false".to_owned());
            }
        }
        if let Some(user) = &smoke.user {
            args.push(format!("--user={user}"));
        }
        for name in &smoke.env {
            args.extend(["-e".to_owned(), name.clone()]);
        }
        args.extend(self.image_args(image));
        args.extend(smoke.command.iter().cloned());
        args
    }

    fn image_args(self, image: &Image) -> Vec<String> {
        match image {
            Image::Id(id) => vec!["--pull=never".to_owned(), id.clone()],
            Image::Reference {
                text,
                plain,
                platform,
            } => {
                let mut args = vec![
                    "--pull=missing".to_owned(),
                    format!("--platform={platform}"),
                ];
                if *plain && self == Self::Podman {
                    args.push("--tls-verify=false".to_owned());
                }
                args.push(text.clone());
                args
            }
        }
    }

    /// Splits the configured flags into global flags and flags of `run`.
    fn split_flags(self, args: &[String]) -> (Vec<&str>, Vec<&str>) {
        let known = match self {
            Self::Podman => PODMAN_GLOBAL_FLAGS,
            Self::Docker => DOCKER_GLOBAL_FLAGS,
        };
        let (mut global, mut run) = (Vec::new(), Vec::new());
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            if known.contains(&arg) {
                global.push(arg);
                global.extend(args.next());
            } else if arg
                .split_once('=')
                .is_some_and(|(name, _)| known.contains(&name))
            {
                global.push(arg);
            } else {
                run.push(arg);
            }
        }
        (global, run)
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    mod bench;
    mod containers;
    mod engines;

    fn location(repository: &str, mapping: Option<(&str, &str)>) -> ImageLocation {
        let mapping = mapping.map(|(source, rest)| {
            (
                SourceLocation::parse(source, Path::new("/base")).unwrap(),
                rest,
            )
        });
        ImageLocation::for_repository(
            &Repository::parse(repository).unwrap(),
            mapping
                .as_ref()
                .map(|(source, rest)| (source, (*rest).to_owned())),
        )
    }

    fn registry(name: &str, plain: bool) -> ImageLocation {
        ImageLocation::Registry {
            name: name.to_owned(),
            plain,
        }
    }

    #[test]
    fn location_follows_the_configured_sources() {
        assert_eq!(
            location("nginx", None),
            registry("docker.io/library/nginx", false)
        );
        assert_eq!(
            location("GHCR.io/acme/app", None),
            registry("ghcr.io/acme/app", false)
        );
        assert_eq!(
            location("ghcr.io/acme/app", Some(("oci:images", "app"))),
            ImageLocation::Layout("/base/images/app".into())
        );
        assert_eq!(
            location("ghcr.io/a/b", Some(("https://m.example/x", "b"))),
            registry("m.example/x/b", false)
        );
        assert_eq!(
            location("ghcr.io/a/b", Some(("http://m.example", "a/b"))),
            registry("m.example/a/b", true)
        );
        assert_eq!(
            location("ghcr.io/a/b", Some(("http://m.example/c", ""))),
            registry("m.example/c", true)
        );
        assert_eq!(
            location("ghcr.io/a/b", Some(("https://127.0.0.1:5000", "b"))),
            registry("127.0.0.1:5000/b", false)
        );
    }

    #[test]
    fn loopback_is_plain() {
        assert_eq!(
            location("localhost:5000/app", None),
            registry("localhost:5000/app", true)
        );
    }

    #[test]
    fn architectures_have_their_oci_names() {
        assert_eq!(
            ["x86_64", "aarch64", "riscv64", "s390x"].map(architecture),
            ["amd64", "arm64", "riscv64", "s390x"]
        );
    }

    fn split(name: EngineName, args: &[&str]) -> (String, String) {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (global, run) = name.split_flags(&args);
        (global.join(" "), run.join(" "))
    }

    #[test]
    fn engine_flags_are_distinguished_from_run_flags() {
        let args = [
            "--root",
            "/r",
            "--ulimit",
            "nofile=1",
            "--runtime=runc",
            "--privileged",
            "--storage-driver",
            "vfs",
        ];
        let (global, run) = split(EngineName::Podman, &args);
        assert_eq!(global, "--root /r --runtime=runc --storage-driver vfs");
        assert_eq!(run, "--ulimit nofile=1 --privileged");
        // `--runtime` is a flag of `docker run`.
        let (global, run) = split(
            EngineName::Docker,
            &["--runtime=runc", "--host", "unix:///x", "--cap-drop=all"],
        );
        assert_eq!(
            (global.as_str(), run.as_str()),
            ("--host unix:///x", "--runtime=runc --cap-drop=all")
        );
        assert_eq!(
            split(EngineName::Podman, &["--root"]),
            ("--root".to_owned(), String::new())
        );
    }
}
