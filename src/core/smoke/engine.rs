//! The command lines of container engines.
//!
//! Both engines accept the same arguments, with the exceptions in this file. The arguments contain
//! the variables of `smoke.env`, but not the values: the engine takes them from its environment.

use std::{fmt, process::Command};

use super::{EngineContext, Request};
use crate::{base::text::words, config::Smoke};

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
pub(super) enum Image {
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
    pub(super) fn command(
        self,
        smoke: &Smoke,
        context: &EngineContext,
        args: &[String],
    ) -> Command {
        let (global, _) = self.split_flags(&smoke.engine_args);
        let mut command = Command::new(self.as_str());
        command
            .env_clear()
            .envs(context.variables.iter().map(|(name, value)| (name, value)));
        command.args(global).args(args);
        command
    }

    /// The arguments of `run`. The flags that repin guarantees follow the configured ones, so that they
    /// take precedence.
    pub(super) fn run_args(self, request: &Request<'_>, image: &Image) -> Vec<String> {
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
    use super::*;

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
