//! Lines about the forge: its version, the base branch, and the permissions of the token. Changes nothing.

use std::{collections::BTreeSet, rc::Rc};

use crate::{
    app::{
        cli::context::Context,
        pull_request::{Content, ForgeRepository},
        report::doctor::DoctorRow,
        workflow::{Access, connection, no_token_error},
    },
    base::{
        error::{Class, Code, Error},
        http::{ServerTime, address::host_of},
    },
    config::{Config, PruneBackend},
    core::pins::FoundPins,
    forge::{
        ANOTHER_TOKEN, CheckStart, FileMode, Forge, Permission, Repo, RequiredRights, Right,
        Signing, Target, Verdict,
    },
    git::{Git, Tree},
};

/// The lines that require a response from the forge.
pub(super) const QUERIED: [Code; 7] = [
    Code::BASE,
    Code::SIGNED_COMMITS,
    Code::PERMISSION_CONTENTS,
    Code::PERMISSION_PULL_REQUESTS,
    Code::PERMISSION_WORKFLOWS,
    Code::PERMISSION_ACTIONS,
    Code::PERMISSION_PACKAGES,
];

/// A forge to query, or the lines that report the obstacle to a query.
pub(super) enum Connection {
    Ready(Box<Ready>),
    Unavailable(Vec<DoctorRow>),
}

/// A forge to query, and the input of the lines.
pub(super) struct Ready {
    forge: Forge,
    content: Content,
    target: Target,
    /// The origin of the token.
    origin: String,
    /// Notes about variables with tokens for other servers.
    unused_tokens: Vec<String>,
    base: Option<String>,
    /// Whether the configuration requires checks of pull requests.
    waits_for_checks: bool,
    /// The configuration's path in the repository.
    config: String,
    required_rights: RequiredRights,
    /// The paths of the files with pins in the repository.
    pinned: BTreeSet<String>,
}

/// Determines the forge and the token, without a request.
pub(super) fn connect(
    config: &Config,
    git: Option<&Git>,
    found: Option<&FoundPins>,
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
    if let Err(errors) = connection::check_dispatch(&target, configured) {
        let token = DoctorRow::skip(Code::TOKEN, "not tested: the configuration is refused");
        return unavailable(DoctorRow::errors(Code::FORGE, &errors), vec![token]);
    }
    let held = match connection::token(&target.api, git, &cx.services.environment) {
        Ok(Access::Granted(held)) => Ok(held),
        Ok(Access::NoToken(reason)) => Err(missing(&reason, skip)),
        Err(errors) => Err(DoctorRow::errors(Code::TOKEN, &errors)),
    };
    let held = match held {
        Ok(held) => held,
        Err(token) => {
            let forge = format!("{}, not queried: no token", describe(&target));
            return unavailable(vec![DoctorRow::skip(Code::FORGE, forge)], token);
        }
    };
    // The history is not needed; the content of other runs must keep it.
    let place = connection::MirrorPlace::Temporary;
    let opened =
        connection::open_repository(&target, held.token, configured, git, place, &cx.services);
    let ForgeRepository { forge, content } = match opened {
        Ok(repository) => repository,
        Err(errors) => {
            let token = format!("from {}, not tested", held.origin);
            let token = vec![DoctorRow::skip(Code::TOKEN, token)];
            return unavailable(DoctorRow::errors(Code::FORGE, &errors), token);
        }
    };
    let prefix = git.map_or_else(String::new, |git| {
        String::from_utf8_lossy(git.prefix()).into_owned()
    });
    let name = config
        .source_text
        .name
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let pinned = pinned(&prefix, found);
    Connection::Ready(Box::new(Ready {
        forge,
        content,
        origin: held.origin,
        unused_tokens: held.ignored,
        target,
        base: configured.base.clone(),
        waits_for_checks: configured.waits_for_checks(),
        config: format!("{prefix}{name}"),
        required_rights: required_rights(config, &pinned),
        pinned,
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

fn pinned(prefix: &str, found: Option<&FoundPins>) -> BTreeSet<String> {
    let pins = found.into_iter().flat_map(FoundPins::pins);
    pins.map(|pin| format!("{prefix}{}", pin.file)).collect()
}

/// The permissions that runs with this configuration require.
fn required_rights(config: &Config, pinned: &BTreeSet<String>) -> RequiredRights {
    let mut images = config.images.iter();
    let packages = match config.prune.as_ref().map(|prune| &prune.backend) {
        Some(PruneBackend::Ghcr) => true,
        Some(PruneBackend::Auto) => images.any(|image| image.repository.host() == "ghcr.io"),
        Some(PruneBackend::Registry | PruneBackend::Ecr) | None => false,
    };
    RequiredRights {
        workflows: pinned
            .iter()
            .any(|path| path.starts_with(".github/workflows/")),
        dispatch: match &config.forge {
            Some(forge) => {
                let workflows = forge.dispatch.iter();
                workflows.map(|entry| entry.workflow.clone()).collect()
            }
            None => Vec::new(),
        },
        packages,
        branches: [&config.promote.branch, &config.rollback.branch]
            .map(|branch| branch.render("0000000", &config.name))
            .into(),
        merges_into: config
            .forge
            .as_ref()
            .filter(|forge| forge.auto_merge)
            .map(|forge| forge.base.clone().unwrap_or_default()),
    }
}

fn describe(target: &Target) -> String {
    format!(
        "{} at {}: {}/{}",
        target.kind.name(),
        target.api.as_str().trim_end_matches('/'),
        target.owner,
        target.name
    )
}

impl Ready {
    pub(super) fn server_time(&self) -> Option<(String, ServerTime)> {
        Some((
            self.target.api.host_str()?.to_owned(),
            self.forge.server_time()?,
        ))
    }

    /// Queries the forge.
    pub(super) async fn examine(&self) -> Vec<DoctorRow> {
        let repo = match self.repository().await {
            Ok(repo) => repo,
            Err(error) => return self.unreadable(error),
        };
        let forge = format!("{}, read", describe(&self.target));
        let mut rows = vec![DoctorRow::pass(Code::FORGE, forge), self.token().await];
        rows.extend(self.base(&repo).await);
        match self.forge.rights(&repo, &self.required_rights).await {
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
        self.forge.check_version().await?;
        self.forge.repository().await
    }

    /// The line of an accepted token. If checks are required, a token with which they never start fails, and one with
    /// which they wait for an approval warns.
    async fn token(&self) -> DoctorRow {
        let mut accepted = format!(
            "from {}, accepted by {}",
            self.origin,
            host_of(&self.target.api)
        );
        for note in &self.unused_tokens {
            accepted.extend(["; ", note]);
        }
        if !self.waits_for_checks {
            return DoctorRow::pass(Code::TOKEN, accepted);
        }
        match self.forge.start_of_checks().await {
            Ok(CheckStart::Immediate) => DoctorRow::pass(Code::TOKEN, accepted),
            Ok(CheckStart::AfterApproval(reason)) => DoctorRow::warn(
                Code::TOKEN,
                format!("{accepted}, but {reason}"),
                ANOTHER_TOKEN,
            ),
            Ok(CheckStart::Never(reason)) => DoctorRow::fail(
                Code::TOKEN,
                Class::Denied,
                format!("{accepted}, but {reason}"),
                ANOTHER_TOKEN,
            ),
            Err(error) => {
                let prefix = format!("{accepted}; cannot determine whether checks start with it: ");
                DoctorRow::error(Code::TOKEN, &prefix, error)
            }
        }
    }

    /// The lines of a repository that cannot be read.
    fn unreadable(&self, error: Error) -> Vec<DoctorRow> {
        let mut rows = if error.class == Class::Denied {
            let rejected = format!("{} rejects this token", describe(&self.target));
            vec![
                DoctorRow::skip(Code::FORGE, rejected),
                DoctorRow::error(Code::TOKEN, &format!("from {}: ", self.origin), error),
            ]
        } else {
            let reason = match error.class {
                Class::Unavailable | Class::Limited => "the forge is unavailable",
                _ => "the repository cannot be used",
            };
            let token = format!("from {}, not tested: {reason}", self.origin);
            vec![
                DoctorRow::error(Code::FORGE, "", error),
                DoctorRow::skip(Code::TOKEN, token),
            ]
        };
        rows.extend(QUERIED.map(|code| DoctorRow::skip(code, "the repository cannot be read")));
        rows
    }

    /// The head of a branch, and its tree.
    async fn head(&self, branch: &str) -> Result<Option<(String, Rc<Tree>)>, Error> {
        let Some(head) = self.content.listed(branch).await? else {
            return Ok(None);
        };
        let head = head.to_string();
        self.content.fetch_only_commit(branch, &head).await?;
        let tree = self.content.tree(&head)?;
        Ok(Some((head, tree)))
    }

    /// The line about signed commits, if the base branch requires them.
    async fn signatures(&self, branch: &str, tree: &Tree) -> DoctorRow {
        let code = Code::SIGNED_COMMITS;
        let files: Vec<_> = tree
            .entries
            .iter()
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
            Ok(Signing::Unknown) => DoctorRow::skip(
                code,
                "not checked: the server does not report whether it requires them",
            ),
            Ok(Signing::Forge) => DoctorRow::pass(
                code,
                format!(
                    "{required}, and GitHub signs the commits that repin creates through its API"
                ),
            ),
            Ok(Signing::User) => DoctorRow::pass(
                code,
                "forge.sign is git: the key of the user's git signs every commit",
            ),
            Ok(Signing::Nothing(reason, hint)) => DoctorRow::fail(
                code,
                Class::Failed,
                format!("{required}, but {reason}"),
                hint,
            ),
        }
    }

    /// The lines about the base branch, which must exist and contain the configuration, and about its signed
    /// commits.
    async fn base(&self, repo: &Repo) -> [DoctorRow; 2] {
        let branch = self.base.as_deref().unwrap_or(&repo.default_branch);
        let base = match self.head(branch).await {
            Err(error) => DoctorRow::error(Code::BASE, "", error),
            Ok(Some((head, tree))) if tree.entries.contains_key(&self.config) => {
                let commit: String = head.chars().take(12).collect();
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
                format!(
                    "set forge.base to the target branch of {}s",
                    self.forge.words().pull_request
                ),
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
        Verdict::Warns(reason, hint) => DoctorRow::warn(code, reason, hint),
        Verdict::Lacks(reason, hint) => DoctorRow::fail(code, Class::Denied, reason, hint),
    }
}
