//! Lines about the forge: its version, the base branch, and the permissions of the token. Reads only.

use std::collections::BTreeSet;

use crate::{
    cli::context::Context,
    code::Code,
    config::{Config, PruneBackend},
    error::{Class, Error},
    forge::{
        ANOTHER_TOKEN, Ability, FileMode, Forge, Head, Kind, Permission, Repo, RequiredRights,
        Right, Signing, Target, Tree, Verdict,
    },
    git::Git,
    http::{ServerTime, address::host_of},
    pins::Found,
    report::doctor::DoctorRow,
    workflow::{Access, connection, no_token_error},
};

/// The lines that need a response from the forge.
pub(super) const QUERIED: [Code; 7] = [
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
    Unavailable(Vec<DoctorRow>),
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
    config: &Config,
    git: Option<&Git>,
    found: Option<&Found>,
    skip: bool,
    cx: &Context,
) -> Connection {
    let Some(configured) = &config.forge else {
        let codes = [Code::FORGE, Code::TOKEN].into_iter().chain(QUERIED);
        let rows = codes.map(|code| DoctorRow::not_configured(code, "forge"));
        return Connection::Unavailable(rows.collect());
    };
    let target = match connection::target(configured, git) {
        Ok(target) => target,
        Err(errors) => {
            let token = match connection::first_set_variable(&cx.services.environment) {
                Some(name) => vec![DoctorRow::skip(
                    Code::TOKEN,
                    format!("{name} is set, not tested: no server is configured"),
                )],
                None => missing(&connection::no_variable_set(), skip),
            };
            return unavailable(DoctorRow::errors(Code::FORGE, &errors), token);
        }
    };
    let held = match connection::token(&target.api, git, &cx.services.environment) {
        Ok(Access::Granted(held)) => Ok(held),
        Ok(Access::NoToken(reason)) => Err(missing(&reason, skip)),
        Err(errors) => Err(DoctorRow::errors(Code::TOKEN, &errors)),
    };
    let held = match held {
        Ok(held) => held,
        Err(token) => {
            let forge = format!("{}, not queried: no token", shown(&target));
            return unavailable(vec![DoctorRow::skip(Code::FORGE, forge)], token);
        }
    };
    let forge = match connection::open(&target, held.token, configured, &cx.services) {
        Ok(forge) => forge,
        Err(errors) => {
            let token = format!("from {}, not tested", held.origin);
            let token = vec![DoctorRow::skip(Code::TOKEN, token)];
            return unavailable(DoctorRow::errors(Code::FORGE, &errors), token);
        }
    };
    let prefix = git.map_or_else(String::new, |git| {
        String::from_utf8_lossy(git.prefix()).into_owned()
    });
    let name = config.source.name.rsplit('/').next().unwrap_or_default();
    Connection::Ready(Box::new(Ready {
        forge,
        origin: held.origin,
        passed_over: held.ignored,
        target,
        base: configured.base.clone(),
        waits_for_checks: configured.waits_for_checks(),
        config: format!("{prefix}{name}"),
        wanted: wanted(config, &prefix, found),
        pinned: pinned(&prefix, found),
    }))
}

/// The line of a missing token.
fn missing(reason: &str, skip: bool) -> Vec<DoctorRow> {
    if skip {
        vec![DoctorRow::skip(Code::TOKEN, reason)]
    } else {
        DoctorRow::errors(Code::TOKEN, &no_token_error(reason))
    }
}

/// The lines of a forge that cannot be queried.
fn unavailable(forge: Vec<DoctorRow>, token: Vec<DoctorRow>) -> Connection {
    let others = QUERIED.map(|code| DoctorRow::skip(code, "the forge was not queried"));
    Connection::Unavailable(forge.into_iter().chain(token).chain(others).collect())
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
    pub(super) async fn examine(&self) -> Vec<DoctorRow> {
        let repo = match self.repository().await {
            Ok(repo) => repo,
            Err(error) => return self.unread(error),
        };
        let forge = format!("{}, read", shown(&self.target));
        let mut rows = vec![DoctorRow::pass(Code::FORGE, forge), self.token().await];
        rows.extend(self.base(&repo).await);
        match self.forge.rights(&repo, &self.wanted).await {
            Ok(rights) => rows.extend(rights.into_iter().map(permission)),
            Err(error) => {
                let reason = format!("unknown: {error}");
                rows.push(DoctorRow::error(Code::PERMISSION_CONTENTS, "", error));
                for code in &QUERIED[3..] {
                    rows.push(DoctorRow::skip(*code, &*reason));
                }
            }
        }
        rows
    }

    async fn repository(&self) -> Result<Repo, Error> {
        self.forge.supported().await?;
        self.forge.repository().await
    }

    /// Judges an accepted token: one with which checks never start fails if anything waits for them.
    async fn token(&self) -> DoctorRow {
        let mut accepted = format!(
            "from {}, accepted by {}",
            self.origin,
            host_of(&self.target.api)
        );
        for other in &self.passed_over {
            accepted.extend(["; ", other]);
        }
        if !self.waits_for_checks {
            return DoctorRow::pass(Code::TOKEN, accepted);
        }
        match self.forge.starts_checks().await {
            Ok(Ability::Yes) => DoctorRow::pass(Code::TOKEN, accepted),
            Ok(Ability::No(reason)) => DoctorRow::fail(
                Code::TOKEN,
                Class::Denied,
                format!("{accepted}, but {reason}"),
                ANOTHER_TOKEN,
            ),
            Err(error) => {
                let about = format!("{accepted}; cannot determine whether checks start with it: ");
                DoctorRow::error(Code::TOKEN, &about, error)
            }
        }
    }

    /// The lines of a repository that cannot be read.
    fn unread(&self, error: Error) -> Vec<DoctorRow> {
        let mut rows = if error.class == Class::Denied {
            let rejected = format!("{} rejects this token", shown(&self.target));
            vec![
                DoctorRow::skip(Code::FORGE, rejected),
                DoctorRow::error(Code::TOKEN, &format!("from {}: ", self.origin), error),
            ]
        } else {
            let token = format!("from {}, not tested: the forge is unavailable", self.origin);
            vec![
                DoctorRow::error(Code::FORGE, "", error),
                DoctorRow::skip(Code::TOKEN, token),
            ]
        };
        rows.extend(QUERIED.map(|code| DoctorRow::skip(code, "the repository cannot be read")));
        rows
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
    async fn signatures(&self, branch: &str, tree: &Tree) -> DoctorRow {
        let code = Code::SIGNED_COMMITS;
        let entries = tree.entries.iter();
        let files: Vec<_> = entries
            .filter(|(path, _)| self.pinned.contains(*path))
            .map(|(path, entry)| FileMode {
                path,
                mode: &entry.mode,
            })
            .collect();
        let required = format!("{branch} requires signed commits");
        match self.forge.signing(branch, &files).await {
            Err(error) => DoctorRow::error(code, "", error),
            Ok(Signing::NotRequired) => DoctorRow::skip(
                code,
                format!("not needed: {branch} requires no signed commits"),
            ),
            Ok(Signing::Unknown) => {
                DoctorRow::skip(code, "not checked: the server signs by its own settings")
            }
            Ok(Signing::Forge) => DoctorRow::pass(
                code,
                format!(
                    "{required}, and GitHub signs the commits that repin creates through its API"
                ),
            ),
            Ok(Signing::App) => DoctorRow::pass(
                code,
                format!("{required}, and GitHub signs the commits of an app"),
            ),
            Ok(Signing::Nothing(reason, hint)) => DoctorRow::fail(
                code,
                Class::Failed,
                format!("{required}, but {reason}"),
                hint,
            ),
        }
    }

    /// The lines of the base branch, which must exist and contain the configuration, and of its
    /// signatures.
    async fn base(&self, repo: &Repo) -> [DoctorRow; 2] {
        let branch = self.base.as_deref().unwrap_or(&repo.default_branch);
        let base = match self.head(branch).await {
            Err(error) => DoctorRow::error(Code::BASE, "", error),
            Ok(Some((head, tree))) if tree.entries.contains_key(&self.config) => {
                let commit: String = head.commit.chars().take(12).collect();
                let detail = format!("{branch} is at {commit} and contains {}", self.config);
                let base = DoctorRow::pass(Code::BASE, detail);
                return [base, self.signatures(branch, &tree).await];
            }
            Ok(Some(_)) => DoctorRow::fail(
                Code::BASE,
                Class::Input,
                format!("{branch} does not contain {}", self.config),
                "merge the configuration into the base branch: --pr uses that one, not the local file",
            ),
            Ok(None) => DoctorRow::fail(
                Code::BASE,
                Class::Input,
                format!("branch {branch} does not exist"),
                "set forge.base to the target branch of pull requests",
            ),
        };
        let reason = "the base branch cannot be read";
        [base, DoctorRow::skip(Code::SIGNED_COMMITS, reason)]
    }
}

fn permission(right: Right) -> DoctorRow {
    let code = match right.permission {
        Permission::Contents => Code::PERMISSION_CONTENTS,
        Permission::PullRequests => Code::PERMISSION_PULL_REQUESTS,
        Permission::Workflows => Code::PERMISSION_WORKFLOWS,
        Permission::Actions => Code::PERMISSION_ACTIONS,
        Permission::Packages => Code::PERMISSION_PACKAGES,
    };
    match right.verdict {
        Verdict::Has(reason) => DoctorRow::pass(code, reason),
        Verdict::Unknown(reason) => DoctorRow::skip(code, reason),
        Verdict::Lacks(reason, hint) => DoctorRow::fail(code, Class::Denied, reason, hint),
    }
}
