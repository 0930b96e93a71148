//! Rows about this machine: files, git, lock and journal, engines, secrets. The only connections are those of git: for
//! the `HEAD` of the remote, if the clone does not contain it, for pushes of `branch sync`, and for the branches of other
//! repositories.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use crate::{
    app::{
        cli::context::Context,
        report::doctor::DoctorRow,
        workflow::{
            self, Access, BranchRole, HistoryBranch,
            repository_sets::named_repositories,
            site, sync_repository,
            trust::{self, Trust},
        },
    },
    base::{
        error::{Class, Code, Error},
        files::WorkTree,
        text::counted,
        untrusted::to_minute,
    },
    config::{Config, Engine, WhenUnavailable},
    core::{
        apply::{self, RecoveryState},
        checks::{self, Status},
        history::{Digests, History},
        pins::{self, FoundPins},
        smoke::{self, EngineContext},
    },
    git::{
        self, Git, GitError, HostedRepository,
        merge::{self, SyncSite},
    },
};

pub(super) fn configuration(config: &Config) -> DoctorRow {
    let images = counted(config.images.len(), "image");
    DoctorRow::pass(
        Code::CONFIGURATION,
        format!("{}: {images}", config.source_text.name),
    )
}

/// The pins, and the rows about their files: a line for each glob without a file, and for each file that cannot be
/// replaced.
pub(super) fn files(config: &Config) -> (Option<FoundPins>, Vec<DoctorRow>) {
    let code = Code::FILES;
    if config.images.is_empty() {
        return (None, vec![DoctorRow::not_configured(code, "images")]);
    }
    let found = match pins::find(&config.work_tree(), config) {
        Ok(found) => found,
        Err(error) => return (None, vec![DoctorRow::error(code, "", error)]),
    };
    let mut rows = match site::check_globs(config, &found) {
        Ok(()) => Vec::new(),
        Err(errors) => DoctorRow::errors(code, &errors),
    };
    for check in checks::check_hazards(&found) {
        if check.status == Status::Fail {
            rows.push(DoctorRow::fail(
                code,
                Class::Failed,
                check.detail,
                Code::FILE_UNSAFE.help(),
            ));
        }
    }
    if rows.is_empty() {
        let pins = counted(found.pins().len(), "pin");
        let files = counted(found.files_with_pins(), "file");
        rows.push(DoctorRow::pass(code, format!("{pins} in {files}")));
    }
    (Some(found), rows)
}

/// The rows about the repository, its history, and the branch of the history.
pub(super) fn repository(
    root: &Path,
    config: Option<&Config>,
    cx: &Context,
) -> (Option<Git>, [DoctorRow; 4]) {
    let git = match Git::open(root) {
        Ok(git) => git.connecting_with(cx.services.clone_connections()),
        Err(error) => {
            let skipped = |code| DoctorRow::skip(code, "no git repository");
            let repository = git_error(Code::REPOSITORY, &error);
            let rows = [
                repository,
                skipped(Code::SHALLOW),
                skipped(Code::REMOTE),
                skipped(Code::REHEARSAL),
            ];
            return (None, rows);
        }
    };
    let branch = workflow::history_branch(&git, config, &cx.services.environment);
    let history = match (config, &branch) {
        (Some(config), Ok(found)) if !config.images.is_empty() => {
            Some(History::for_branch(&git, config, found.branch.clone()))
        }
        _ => None,
    };
    let rows = [
        work_tree(&git, root),
        completeness(&git, history.as_ref()),
        remote(&git, &branch),
        rehearsal(config, history.as_ref()),
    ];
    (Some(git), rows)
}

fn work_tree(git: &Git, root: &Path) -> DoctorRow {
    let version = match git.version() {
        Ok(version) => version,
        Err(error) => return git_error(Code::REPOSITORY, &error),
    };
    let prefix = String::from_utf8_lossy(git.prefix());
    let place = if prefix.is_empty() {
        String::new()
    } else {
        format!("; the root is {prefix}")
    };
    let detail = format!("{} is in a git work tree{place}; {version}", root.display());
    DoctorRow::pass(Code::REPOSITORY, detail)
}

/// The row about the rehearsal of rollbacks.
fn rehearsal(config: Option<&Config>, history: Option<&Result<History, GitError>>) -> DoctorRow {
    let code = Code::REHEARSAL;
    let Some(config) = config else {
        return DoctorRow::without_configuration(code);
    };
    if config.images.is_empty() {
        return DoctorRow::not_configured(code, "images");
    }
    if let Some(rehearse) = &config.rehearse {
        let detail = match rehearse.last {
            0 => "the current set is rehearsed".to_owned(),
            last => format!("sets that are rehearsed: the last {last}"),
        };
        return DoctorRow::pass(code, detail);
    }
    let Some(Ok(history)) = history else {
        return DoctorRow::skip(code, "no history was read");
    };
    let entries = history.entries().iter();
    let sets: BTreeSet<&Digests> = entries.map(|entry| &entry.images).collect();
    if sets.len() <= 1 {
        let detail = format!("history has {}", counted(sets.len(), "set"));
        return DoctorRow::pass(code, detail);
    }
    let reason = format!(
        "no rehearsal is configured, and history has {}: a rollback may fail when it is needed",
        counted(sets.len(), "set")
    );
    let hint = "run `repin rehearse` every night, and add `rehearse: {}` to the configuration";
    DoctorRow::warn(code, reason, hint)
}

/// The row about the pushes of `branch sync`, with the token for the forge or the credentials of git.
pub(super) fn sync_push(config: &Config, git: Option<&Git>, cx: &Context) -> DoctorRow {
    let code = Code::SYNC_PUSH;
    let targets = config.forge_or_default().sync_targets;
    if targets.is_empty() {
        return DoctorRow::not_configured(code, "forge.sync_targets");
    }
    let repository = match sync_repository(config, git, &cx.services) {
        Ok(repository) => repository,
        Err(errors) => return DoctorRow::error(code, "", errors.by_cause().swap_remove(0)),
    };
    let (place, credentials, missing) = match (repository, git) {
        (Some(repository), _) => {
            let work = repository.content.check_push(&targets);
            let missing = cx.services.wait(work, "testing a push");
            (repository.forge.name(), "token", missing)
        }
        (None, Some(git)) => {
            let missing = merge::check_push(SyncSite::Clone(git), &targets);
            ("the remote `origin`", "credentials of git", missing)
        }
        (None, None) => return DoctorRow::skip(code, "no git repository"),
    };
    match missing {
        Err(error) => DoctorRow::error(code, "", error),
        Ok(missing) if !missing.is_empty() => DoctorRow::fail(
            code,
            Class::Input,
            format!("{place} has no branch {}", missing.join(", ")),
            "correct forge.sync_targets, or create the branch",
        ),
        Ok(_) => DoctorRow::pass(
            code,
            format!(
                "{place} accepts the {credentials} for a push to {}; a branch protection was not tested",
                targets.join(", ")
            ),
        ),
    }
}

fn completeness(git: &Git, history: Option<&Result<History, GitError>>) -> DoctorRow {
    let code = Code::SHALLOW;
    if git.is_shallow() {
        return DoctorRow::fail(
            code,
            Class::Unavailable,
            "this clone is shallow, so its history does not contain every promotion and rollback",
            git::FETCH_HISTORY,
        );
    }
    let history = match history {
        None => return DoctorRow::pass(code, "the clone is not shallow; no history was read"),
        Some(Ok(history)) => history,
        Some(Err(error)) => {
            return DoctorRow::fail(code, Class::Unavailable, error.to_string(), error.hint());
        }
    };
    let Some(unreadable) = history.blind_spot() else {
        return DoctorRow::pass(code, "history is complete");
    };
    let reason = format!(
        "cannot read commit {} of {}, which may be a rollback: {}",
        unreadable.commit,
        to_minute(&unreadable.date),
        unreadable.reason()
    );
    let hint = "inspect that commit, then promote a newer build once with --force-after-rollback";
    DoctorRow::fail(code, Class::Failed, reason, hint)
}

fn remote(git: &Git, branch: &Result<HistoryBranch, GitError>) -> DoctorRow {
    let history_branch = match branch {
        Err(error) => return git_error(Code::REMOTE, error),
        Ok(history_branch) => history_branch,
    };
    if history_branch.role != BranchRole::Promoted {
        let reason = format!(
            "{}; a promotion reads the history of HEAD; rollback is refused",
            GitError::NoRemote
        );
        return DoctorRow::skip(Code::REMOTE, reason);
    }
    let origin = git.origin().ok().flatten();
    let from = match origin.and_then(|url| HostedRepository::parse(&url)) {
        Some(HostedRepository {
            host, owner, name, ..
        }) => format!(", cloned from {host}: {owner}/{name}"),
        None => String::new(),
    };
    let (name, commit) = (
        &history_branch.branch.name,
        history_branch.branch.tip.short(),
    );
    DoctorRow::pass(Code::REMOTE, format!("{name} is at {commit}{from}"))
}

/// The row of a git error: skipped if a promotion can continue without history, otherwise a failure.
fn git_error(code: Code, error: &GitError) -> DoctorRow {
    match checks::no_history_reason(error) {
        Some(reason) => DoctorRow::skip(
            code,
            format!(
                "{reason}; a promotion continues without history and warns; rollback is refused"
            ),
        ),
        None => DoctorRow::fail(
            code,
            Error::from(error).class,
            error.to_string(),
            error.hint(),
        ),
    }
}

/// The rows about the lock and the journal. `option`: the option that selects the configuration.
pub(super) fn state(root: &Path, option: &str) -> [DoctorRow; 2] {
    let running = apply::find_running(root);
    let is_locked = matches!(running, Ok(Some(_)));
    let lock = match running {
        Ok(None) => DoctorRow::pass(Code::LOCK, "free"),
        Ok(Some(error)) | Err(error) => DoctorRow::error(Code::LOCK, "", error),
    };
    let code = Code::JOURNAL;
    let journal = match apply::preview_recovery(root) {
        Ok(None) => DoctorRow::pass(code, "none: no run was interrupted"),
        Ok(Some(_)) if is_locked => DoctorRow::skip(code, "belongs to the run that holds the lock"),
        Ok(Some(recovery)) if recovery.state == RecoveryState::Conflict => {
            DoctorRow::error(code, "", apply::Error::Unresolved(recovery))
        }
        Ok(Some(recovery)) => {
            let hint = format!(
                "run `repin recover{option}` to finish or undo it; the next --apply does so too"
            );
            DoctorRow::fail(code, Class::Conflict, recovery.notice(option), hint)
        }
        Err(error) => DoctorRow::error(code, "", error),
    };
    [lock, journal]
}

/// The row about the container engine of the smoke command; without a configuration, that of a later one.
pub(super) fn engine(config: Option<&Config>, cx: &Context) -> DoctorRow {
    let smoke = config.and_then(|config| config.smoke.as_ref());
    if config.is_some() && smoke.is_none() {
        return DoctorRow::not_configured(Code::ENGINE, "smoke");
    }
    let (engine, engine_args) = match smoke {
        Some(smoke) => (smoke.engine, smoke.engine_args.as_slice()),
        None => (Engine::Auto, &[][..]),
    };
    let context = EngineContext {
        variables: cx.services.environment.for_engine(config),
        // Not required to query the version.
        machine: String::new(),
        interrupted: Arc::default(),
    };
    let (mut versions, mut reasons) = (Vec::new(), Vec::new());
    for (name, version) in smoke::probe(engine, engine_args, &context) {
        match version {
            Ok(version) => versions.push(version),
            Err(reason) => reasons.push(format!("{name}: {reason}")),
        }
    }
    if !versions.is_empty() {
        let versions = versions.join(", ");
        let detail = format!("{versions}; no container was started: that would change the machine");
        return DoctorRow::pass(Code::ENGINE, detail);
    }
    let reason = format!("no container engine is usable: {}", reasons.join("; "));
    let Some(smoke) = smoke else {
        return DoctorRow::skip(Code::ENGINE, format!("{reason}; only `smoke` needs one"));
    };
    if smoke.when_unavailable == WhenUnavailable::Skip {
        let reason = format!("{reason} (smoke.when_unavailable is skip)");
        return DoctorRow::skip(Code::ENGINE, reason);
    }
    let hint = "install or start an engine, or set smoke.when_unavailable: skip";
    DoctorRow::fail(Code::ENGINE, Class::Failed, reason, hint)
}

/// The rows about the secrets that the configuration requires.
pub(super) fn secrets(config: &Config, skip: bool, cx: &Context) -> Vec<DoctorRow> {
    let mut names = Vec::new();
    for name in config.smoke.iter().flat_map(|smoke| &smoke.env) {
        names.push((name, "smoke.env"));
    }
    for entry in &config.freshness {
        names.extend(entry.token_env.iter().map(|name| (name, "token_env")));
    }
    let mut rows = Vec::new();
    for (name, key) in names {
        let missing = format!("{name} is not set ({key})");
        rows.push(match cx.services.environment.filled(name) {
            Some(_) => DoctorRow::pass(Code::SECRET, format!("{name} is set ({key})")),
            None if skip => DoctorRow::skip(Code::SECRET, missing),
            None => {
                let hint =
                    format!("set {name} in the environment of repin, or remove it from `{key}`");
                DoctorRow::fail(Code::SECRET, Class::Denied, missing, hint)
            }
        });
    }
    if rows.is_empty() {
        rows.push(DoctorRow::not_configured(Code::SECRET, "token_env"));
    }
    rows
}

/// Whether git reads the other repositories that pin the images, and those of stages.
pub(super) fn other_repositories(
    config: &Config,
    git: Option<&Git>,
    skip: bool,
    cx: &Context,
) -> DoctorRow {
    let code = Code::OTHER_REPOSITORIES;
    let access = match named_repositories(&[config], git, &cx.services) {
        Ok(Access::NoToken(reason)) if skip => return DoctorRow::skip(code, reason),
        access => access.and_then(Access::granted),
    };
    let named = match access {
        Ok(named) => named,
        Err(errors) => return DoctorRow::error(code, "", errors.by_cause().swap_remove(0)),
    };
    let mut repositories = Vec::new();
    for repository in &named {
        if let Err(error) = repository.access.check() {
            return DoctorRow::error(code, "", error);
        }
        repositories.push(repository.access.entry.repository.as_str());
    }
    if repositories.is_empty() {
        return DoctorRow::not_configured(code, "prune.also_pinned_in");
    }
    DoctorRow::pass(code, format!("git reads {}", repositories.join(", ")))
}

/// The rows about the trusted roots of the policy and the validity of their authorities.
pub(super) fn roots(config: &Config, cx: &Context) -> Vec<DoctorRow> {
    let code = Code::TRUSTED_ROOT;
    if config.verify.is_none() {
        return vec![DoctorRow::not_configured(code, "verify")];
    }
    let trust = match Trust::read(config, &WorkTree::new(&config.root)) {
        Ok(trust) => trust,
        Err(errors) => return DoctorRow::errors(code, &errors),
    };
    if let Err(errors) = trust::check_since(config) {
        return DoctorRow::errors(code, &errors);
    }
    let now = (cx.services.environment.clock)();
    let mut rows = Vec::new();
    for root in trust.iter().flat_map(|trust| trust.roots(now)) {
        let hint = "run `repin trust update --apply`, or update repin for the built-in roots";
        rows.push(match root.warning {
            Some(warning) => DoctorRow::warn(code, warning, hint),
            None => DoctorRow::pass(code, root.detail),
        });
    }
    rows
}
