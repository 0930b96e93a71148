//! The command lines of container engines.
//!
//! Both engines take the same words but for what is marked here. Values of `smoke.env` are on none
//! of these lines: the engine takes them from its own environment, by name.

use std::{fmt, process::Command};

use super::{EngineContext, Request};
use crate::config::Smoke;

/// A container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineName {
    /// podman.
    Podman,
    /// docker.
    Docker,
}

/// Flags that precede the engine's subcommand, each with a value. podman also accepts them after
/// it, but the commands that manage the container need them too, because they determine where it
/// is.
const PODMAN_WIDE: &[&str] = &[
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
const DOCKER_WIDE: &[&str] = &[
    "--config",
    "--context",
    "--host",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
];

/// An image as passed to an engine.
pub(super) enum Image {
    /// In a registry.
    Reference {
        /// `NAME@sha256:…`.
        text: String,
        /// Over plain HTTP.
        plain: bool,
        /// `os/architecture`.
        platform: String,
    },
    /// In the engine's own storage, by its ID.
    Id(String),
}

impl EngineName {
    /// The program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }

    /// The engine with these arguments, and with nothing but the given environment.
    pub(super) fn command(self, smoke: &Smoke, around: &EngineContext, args: &[String]) -> Command {
        let (wide, _) = self.split(&smoke.engine_args);
        let mut command = Command::new(self.as_str());
        command
            .env_clear()
            .envs(around.variables.iter().map(|(name, value)| (name, value)));
        command.args(wide).args(args);
        command
    }

    /// `run`. The flags that repin guarantees follow the configured ones, so that they win.
    pub(super) fn run(self, request: &Request<'_>, image: &Image) -> Vec<String> {
        let smoke = request.smoke;
        let (_, flags) = self.split(&smoke.engine_args);
        let mut args = vec!["run".to_owned()];
        args.extend(flags.into_iter().map(str::to_owned));
        args.push(format!("--name={}", request.container));
        args.push(format!(
            "--label=repin.image={}@{}",
            request.repository.canonical(),
            request.image.digest
        ));
        // Kept until it was asked whether it had started: 125 to 127 can be the engine's exit or
        // the command's.
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
            // podman hands the proxies' variables on, and they may hold passwords.
            args.extend((!smoke.network).then(|| "--http-proxy=false".to_owned()));
        }
        args.extend(smoke.user.iter().map(|user| format!("--user={user}")));
        args.extend(
            smoke
                .env
                .iter()
                .flat_map(|name| ["-e".to_owned(), name.clone()]),
        );
        args.extend(self.image(image));
        args.extend(smoke.command.iter().cloned());
        args
    }

    fn image(self, image: &Image) -> Vec<String> {
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
                args.extend(
                    (*plain && self == Self::Podman).then(|| "--tls-verify=false".to_owned()),
                );
                args.push(text.clone());
                args
            }
        }
    }

    /// The configured flags: those before the subcommand, and the others.
    fn split(self, args: &[String]) -> (Vec<&str>, Vec<&str>) {
        let known = if self == Self::Podman {
            PODMAN_WIDE
        } else {
            DOCKER_WIDE
        };
        let (mut wide, mut others) = (Vec::new(), Vec::new());
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let (name, value) = arg
                .split_once('=')
                .map_or((arg, None), |(name, value)| (name, Some(value)));
            if known.contains(&name) {
                wide.push(arg);
                wide.extend(if value.is_none() { args.next() } else { None });
            } else {
                others.push(arg);
            }
        }
        (wide, others)
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
        let (wide, others) = name.split(&args);
        (wide.join(" "), others.join(" "))
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
        let (wide, others) = split(EngineName::Podman, &args);
        assert_eq!(wide, "--root /r --runtime=runc --storage-driver vfs");
        assert_eq!(others, "--ulimit nofile=1 --privileged");
        // docker's run command has a flag of that name.
        let (wide, others) = split(
            EngineName::Docker,
            &["--runtime=runc", "--host", "unix:///x", "--cap-drop=all"],
        );
        assert_eq!(
            (wide.as_str(), others.as_str()),
            ("--host unix:///x", "--runtime=runc --cap-drop=all")
        );
        assert_eq!(
            split(EngineName::Podman, &["--root"]),
            ("--root".to_owned(), String::new())
        );
    }
}
