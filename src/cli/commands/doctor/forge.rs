//! Lines about the forge: its version, the base branch, and the permissions of the token. Reads only.

use std::collections::BTreeSet;

use super::{Lines, NO_CONFIG};
use crate::{
    cli::{context::Context, exit::Exit},
    code::Code,
    config::{Config, PruneBackend},
    error::{Class, Error, Errors},
    forge::{
        ANOTHER_TOKEN, Ability, FileMode, Forge, Head, Kind, Permission, Repo, RequiredRights,
        Right, Signing, Target, Tree, Verdict,
    },
    git::Git,
    http::{ServerTime, address::host_of},
    pins::Found,
    workflow::{Access, connection, no_token},
};

/// The lines that need a response from the forge.
const ASKED: [Code; 7] = [
    Code::BASE,
    Code::SIGNED_COMMITS,
    Code::PERMISSION_CONTENTS,
    Code::PERMISSION_PULL_REQUESTS,
    Code::PERMISSION_WORKFLOWS,
    Code::PERMISSION_ACTIONS,
    Code::PERMISSION_PACKAGES,
];

/// A forge to query, or the lines that explain why there is none.
pub(super) enum Connection {
    Ready(Box<Ready>),
    Not(Lines),
}

/// A forge to query, and the lines to fill.
pub(super) struct Ready {
    forge: Box<dyn Forge>,
    target: Target,
    /// The origin of the token.
    origin: String,
    /// Variables that are set for another server.
    passed_over: Vec<String>,
    base: Option<String>,
    /// Whether anything waits for the checks of pull requests.
    waits_for_checks: bool,
    /// The configuration's path in the repository.
    config: String,
    wanted: RequiredRights,
    /// The paths of the files with pins in the repository.
    pinned: BTreeSet<String>,
}

/// Determines the forge and the token; sends nothing.
pub(super) fn connect(
    config: Option<&Config>,
    git: Option<&Git>,
    found: Option<&Found>,
    skip: bool,
    cx: &Context,
) -> Connection {
    let not = |reason: &str| {
        let mut lines = Lines::new();
        [Code::FORGE, Code::TOKEN]
            .into_iter()
            .chain(ASKED)
            .for_each(|code| lines.skip(code, reason));
        Connection::Not(lines)
    };
    let Some(config) = config else {
        return not(NO_CONFIG);
    };
    let Some(configured) = &config.forge else {
        let mut lines = Lines::new();
        let codes = [Code::FORGE, Code::TOKEN].into_iter().chain(ASKED);
        codes.for_each(|code| lines.unconcerned(code, "forge"));
        return Connection::Not(lines);
    };
    let target = match connection::target(configured, git) {
        Ok(target) => target,
        Err(fault) => {
            let lines = unasked(Err(&fault), |lines| {
                match connection::first_set(&cx.services.environment) {
                    Some(name) => lines.skip(
                        Code::TOKEN,
                        format!("{name} is set, not tested: no server is configured"),
                    ),
                    None => missing(lines, &connection::none_set(), skip),
                }
            });
            return Connection::Not(lines);
        }
    };
    let held = connection::token(&target.api, git, &cx.services.environment);
    if let Ok(Access::Granted(held)) = &held {
        return match connection::open(&target, held.token.clone(), configured, &cx.services) {
            Ok(forge) => {
                let prefix = git.map_or_else(String::new, |git| {
                    String::from_utf8_lossy(git.prefix()).into_owned()
                });
                let name = config.source.name.rsplit('/').next().unwrap_or_default();
                Connection::Ready(Box::new(Ready {
                    forge,
                    origin: held.origin.clone(),
                    passed_over: held.passed_over.clone(),
                    target: target.clone(),
                    base: configured.base.clone(),
                    waits_for_checks: configured.waits_for_checks(),
                    config: format!("{prefix}{name}"),
                    wanted: wanted(config, &prefix, found),
                    pinned: pinned(&prefix, found),
                }))
            }
            Err(fault) => {
                let token = format!("from {}, not tested", held.origin);
                Connection::Not(unasked(Err(&fault), |lines| lines.skip(Code::TOKEN, token)))
            }
        };
    }
    let shown = format!("{}, not queried: no token", shown(&target));
    Connection::Not(unasked(Ok(shown), |lines| match &held {
        Ok(Access::NoToken(reason)) => missing(lines, reason, skip),
        Ok(Access::Granted(_)) => {}
        Err(fault) => lines.fault(Code::TOKEN, fault),
    }))
}

/// The line of a missing token.
fn missing(lines: &mut Lines, reason: &str, skip: bool) {
    if skip {
        lines.skip(Code::TOKEN, reason);
    } else {
        lines.fault(Code::TOKEN, &no_token(reason));
    }
}

/// The lines of a forge that cannot be queried: the known facts, and the line of the token.
fn unasked(known: Result<String, &Errors>, token: impl FnOnce(&mut Lines)) -> Lines {
    let mut lines = Lines::new();
    match known {
        Ok(shown) => lines.skip(Code::FORGE, shown),
        Err(fault) => lines.fault(Code::FORGE, fault),
    }
    token(&mut lines);
    for code in ASKED {
        lines.skip(code, "the forge was not queried");
    }
    lines
}

fn pinned(prefix: &str, found: Option<&Found>) -> BTreeSet<String> {
    let pins = found.into_iter().flat_map(Found::pins);
    pins.map(|pin| format!("{prefix}{}", pin.file)).collect()
}

/// The permissions that runs with this configuration need.
fn wanted(config: &Config, prefix: &str, found: Option<&Found>) -> RequiredRights {
    let workflow = |file: String| format!("{prefix}{file}").starts_with(".github/workflows/");
    let workflows = found.is_some_and(|found| {
        found
            .pins()
            .iter()
            .any(|pin| workflow(pin.file.to_string()))
    });
    let dispatch = config
        .forge
        .as_ref()
        .map_or_else(Vec::new, |forge| forge.dispatch.clone());
    let hosted = || {
        config
            .images
            .iter()
            .any(|image| image.repository.host() == "ghcr.io")
    };
    let packages = config
        .prune
        .as_ref()
        .is_some_and(|prune| match prune.backend {
            PruneBackend::Ghcr => true,
            PruneBackend::Auto => hosted(),
            PruneBackend::Registry => false,
        });
    RequiredRights {
        workflows,
        dispatch,
        packages,
    }
}

fn shown(target: &Target) -> String {
    let kind = match target.kind {
        Kind::Github => "GitHub",
        Kind::Gitea => "Gitea",
    };
    format!(
        "{kind} at {}: {}/{}",
        target.api.as_str().trim_end_matches('/'),
        target.owner,
        target.name
    )
}

impl Ready {
    /// The forge's host and its time.
    pub(super) fn server_time(&self) -> Option<(String, ServerTime)> {
        Some((
            self.target.api.host_str()?.to_owned(),
            self.forge.server_time()?,
        ))
    }

    /// Queries the forge, one request for each fact.
    pub(super) async fn examine(&self) -> Lines {
        let mut lines = Lines::new();
        if let Err(error) = self.forge.supported().await {
            self.unread(&mut lines, error);
            return lines;
        }
        let repo = match self.forge.repository().await {
            Ok(repo) => repo,
            Err(error) => {
                self.unread(&mut lines, error);
                return lines;
            }
        };
        lines.pass(Code::FORGE, format!("{}, read", shown(&self.target)));
        self.token(&mut lines).await;
        self.base(&mut lines, &repo).await;
        match self.forge.rights(&repo, &self.wanted).await {
            Ok(rights) => rights
                .into_iter()
                .for_each(|right| permission(&mut lines, right)),
            Err(error) => {
                let reason = format!("unknown: {error}");
                lines.fault(Code::PERMISSION_CONTENTS, &Errors::from(error));
                for code in &ASKED[3..] {
                    lines.skip(*code, &reason);
                }
            }
        }
        lines
    }

    /// Judges an accepted token: one with which checks never start fails if anything waits for them.
    async fn token(&self, lines: &mut Lines) {
        let mut accepted = format!(
            "from {}, accepted by {}",
            self.origin,
            host_of(&self.target.api)
        );
        for other in &self.passed_over {
            accepted.extend(["; ", other]);
        }
        if !self.waits_for_checks {
            return lines.pass(Code::TOKEN, accepted);
        }
        match self.forge.starts_checks().await {
            Ok(Ability::Yes) => lines.pass(Code::TOKEN, accepted),
            Ok(Ability::No(reason)) => {
                let reason = format!("{accepted}, but {reason}");
                lines.fail(
                    Code::TOKEN,
                    Exit::Because(Class::Denied),
                    reason,
                    ANOTHER_TOKEN.to_owned(),
                );
            }
            Err(error) => {
                let about = format!("{accepted}; cannot determine whether checks start with it: ");
                lines.about(Code::TOKEN, &about, &Errors::from(error));
            }
        }
    }

    fn unread(&self, lines: &mut Lines, error: Error) {
        if error.class == Class::Denied {
            lines.skip(
                Code::FORGE,
                format!("{} rejects this token", shown(&self.target)),
            );
            lines.about(
                Code::TOKEN,
                &format!("from {}: ", self.origin),
                &Errors::from(error),
            );
        } else {
            lines.fault(Code::FORGE, &Errors::from(error));
            lines.skip(
                Code::TOKEN,
                format!("from {}, not tested: the forge is unavailable", self.origin),
            );
        }
        for code in ASKED {
            lines.skip(code, "the repository cannot be read");
        }
    }

    /// A branch's head, and its files.
    async fn head(&self, branch: &str) -> Result<Option<(Head, Tree)>, Error> {
        let Some(head) = self.forge.branch(branch).await? else {
            return Ok(None);
        };
        let tree = self.forge.tree(&head).await?;
        Ok(Some((head, tree)))
    }

    /// Whether commits for the base are signed, if it requires that.
    async fn signatures(&self, lines: &mut Lines, branch: &str, tree: &Tree) {
        let entries = tree.entries.iter();
        let files: Vec<_> = entries
            .filter(|(path, _)| self.pinned.contains(*path))
            .map(|(path, entry)| FileMode {
                path,
                mode: &entry.mode,
            })
            .collect();
        match self.forge.signing(branch, &files).await {
            Err(error) => lines.fault(Code::SIGNED_COMMITS, &Errors::from(error)),
            Ok(Signing::NotRequired) => lines.skip(
                Code::SIGNED_COMMITS,
                format!("not needed: {branch} requires no signed commits"),
            ),
            Ok(Signing::Unknown) => {
                lines.skip(
                    Code::SIGNED_COMMITS,
                    "not checked: the server signs by its own settings",
                );
            }
            Ok(Signing::Forge) => lines.pass(
                Code::SIGNED_COMMITS,
                format!("{branch} requires signed commits, and GitHub signs the commits that repin creates through its API"),
            ),
            Ok(Signing::App) => lines.pass(
                Code::SIGNED_COMMITS,
                format!("{branch} requires signed commits, and GitHub signs the commits of an app"),
            ),
            Ok(Signing::Nothing(reason, hint)) => {
                let reason = format!("{branch} requires signed commits, but {reason}");
                lines.fail(Code::SIGNED_COMMITS, Exit::Because(Class::Failed), reason, hint);
            }
        }
    }

    /// Judges the base branch, which must exist and contain the configuration.
    async fn base(&self, lines: &mut Lines, repo: &Repo) {
        let branch = self.base.as_deref().unwrap_or(&repo.default_branch);
        match self.head(branch).await {
            Err(error) => lines.fault(Code::BASE, &Errors::from(error)),
            Ok(Some((head, tree))) if tree.entries.contains_key(&self.config) => {
                let commit: String = head.commit.chars().take(12).collect();
                lines.pass(
                    Code::BASE,
                    format!("{branch} is at {commit} and contains {}", self.config),
                );
                return self.signatures(lines, branch, &tree).await;
            }
            Ok(Some(_)) => {
                let hint = "merge the configuration into the base branch: --pr uses that one, not the local file";
                lines.fail(
                    Code::BASE,
                    Exit::Because(Class::Input),
                    format!("{branch} does not contain {}", self.config),
                    hint.to_owned(),
                );
            }
            Ok(None) => {
                let hint = "set forge.base to the target branch of pull requests";
                lines.fail(
                    Code::BASE,
                    Exit::Because(Class::Input),
                    format!("branch {branch} does not exist"),
                    hint.to_owned(),
                );
            }
        }
        lines.skip(Code::SIGNED_COMMITS, "the base branch cannot be read");
    }
}

fn permission(lines: &mut Lines, right: Right) {
    let code = match right.permission {
        Permission::Contents => Code::PERMISSION_CONTENTS,
        Permission::PullRequests => Code::PERMISSION_PULL_REQUESTS,
        Permission::Workflows => Code::PERMISSION_WORKFLOWS,
        Permission::Actions => Code::PERMISSION_ACTIONS,
        Permission::Packages => Code::PERMISSION_PACKAGES,
    };
    match right.verdict {
        Verdict::Has(reason) => lines.pass(code, reason),
        Verdict::Unknown(reason) => lines.skip(code, reason),
        Verdict::Lacks(reason, hint) => {
            lines.fail(code, Exit::Because(Class::Denied), reason, hint);
        }
    }
}
