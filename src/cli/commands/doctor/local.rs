//! Lines about this machine: files, git, lock and journal, engines, secrets. The only request asks
//! the git remote for its `HEAD`, if the clone does not know it.

use std::{path::Path, sync::Arc};

use super::Lines;
use crate::{
    apply::{self, State},
    checks,
    cli::{context::Context, exit::Exit},
    code::Code,
    config::{Config, number},
    error::{Class, Error, Errors},
    files::WorkTree,
    git::{self, Git, GitError, HostedRepository},
    history::History,
    pins::{self, Found},
    smoke::{self, EngineContext},
    workflow::{
        self, Line, Standing,
        trust::{self, Trust},
    },
};

/// The reason to skip a line that requires a valid configuration.
pub(super) const NO_CONFIG: &str = "requires a valid configuration";

/// The configuration, if it can be read.
pub(super) fn configuration(lines: &mut Lines, cx: &mut Context) -> Option<Config> {
    match cx.load() {
        Ok(config) => {
            let count = config.images.len();
            lines.pass(
                Code::CONFIGURATION,
                format!("{}: {}", config.source.name, number(count, "image")),
            );
            Some(config)
        }
        Err(fault) => {
            lines.fault(Code::CONFIGURATION, &fault);
            None
        }
    }
}

/// The scanned files and their pins.
pub(super) fn files(lines: &mut Lines, config: Option<&Config>) -> Option<Found> {
    let Some(config) = config else {
        lines.skip(Code::FILES, NO_CONFIG);
        return None;
    };
    match pins::find(&git::work_tree(config), config) {
        Ok(found) => {
            let (pins, files) = (
                number(found.pins().len(), "pin"),
                number(found.files.len(), "file"),
            );
            lines.pass(Code::FILES, format!("{pins} in {files}"));
            Some(found)
        }
        Err(error) => {
            lines.fault(Code::FILES, &Errors::from(error));
            None
        }
    }
}

/// The repository, whether its history is complete, and the branch that history is read from.
pub(super) fn history(
    lines: &mut Lines,
    root: &Path,
    config: Option<&Config>,
    cx: &Context,
) -> Option<Git> {
    let git = match Git::open(root) {
        Ok(git) => git,
        Err(error) => {
            trouble(lines, Code::REPOSITORY, &error);
            for code in [Code::SHALLOW, Code::REMOTE] {
                lines.skip(code, "no git repository");
            }
            return None;
        }
    };
    let prefix = String::from_utf8_lossy(git.prefix());
    let place = if prefix.is_empty() {
        String::new()
    } else {
        format!("; the root is {prefix}")
    };
    match git.version() {
        Ok(version) => lines.pass(
            Code::REPOSITORY,
            format!("{} is in a git work tree{place}; {version}", root.display()),
        ),
        Err(error) => trouble(lines, Code::REPOSITORY, &error),
    }
    let line = config.map(|config| {
        (
            workflow::line(&git, config, &cx.services.environment),
            config,
        )
    });
    whole(lines, &git, line.as_ref());
    match line {
        None => lines.skip(Code::REMOTE, NO_CONFIG),
        Some((Err(error), _)) => trouble(lines, Code::REMOTE, &error),
        Some((Ok(line), _)) if line.standing != Standing::Promoted => lines.skip(
            Code::REMOTE,
            format!(
                "{}; a promote reads the history of HEAD, a rollback is refused",
                GitError::NoRemote
            ),
        ),
        Some((Ok(line), _)) => {
            let origin = git
                .origin()
                .ok()
                .flatten()
                .and_then(|url| HostedRepository::parse(&url));
            let from = origin.map_or_else(String::new, |origin| {
                format!(
                    ", cloned from {}: {}/{}",
                    origin.host, origin.owner, origin.name
                )
            });
            lines.pass(
                Code::REMOTE,
                format!(
                    "{} is at {}{from}",
                    line.branch.name,
                    line.branch.tip.short()
                ),
            );
        }
    }
    Some(git)
}

/// Whether the history that counts is complete and readable.
fn whole(lines: &mut Lines, git: &Git, line: Option<&(Result<Line, GitError>, &Config)>) {
    if git.is_shallow() {
        let reason =
            "this clone is shallow, so its history does not show every promote and rollback";
        let hint =
            "fetch the history: git fetch --unshallow (with actions/checkout: fetch-depth: 0)";
        return lines.fail(
            Code::SHALLOW,
            Exit::Because(Class::Unavailable),
            reason.to_owned(),
            hint.to_owned(),
        );
    }
    let Some((Ok(line), config)) = line else {
        return lines.pass(
            Code::SHALLOW,
            "the clone is not shallow; no history was read",
        );
    };
    match History::of_branch(git, config, line.branch.clone()) {
        Err(error) => lines.fail(
            Code::SHALLOW,
            Exit::Because(Class::Unavailable),
            error.to_string(),
            error.hint(),
        ),
        Ok(history) => match history.blind_spot() {
            None => lines.pass(Code::SHALLOW, "history is complete"),
            Some(unreadable) => {
                let reason = format!(
                    "cannot read commit {} of {}, which may be a rollback: {}",
                    unreadable.commit,
                    unreadable.date,
                    unreadable.reason()
                );
                let hint = "inspect that commit, then promote a newer build once with --force-after-rollback";
                lines.fail(
                    Code::SHALLOW,
                    Exit::Because(Class::Failed),
                    reason,
                    hint.to_owned(),
                );
            }
        },
    }
}

/// Skips what a promote can do without, and fails the rest.
fn trouble(lines: &mut Lines, code: Code, error: &GitError) {
    match checks::without_history(error) {
        Some(reason) => lines.skip(
            code,
            format!(
                "{reason}; a promote continues without history and warns, a rollback is refused"
            ),
        ),
        None => lines.fail(
            code,
            Exit::Because(Error::from(error).class),
            error.to_string(),
            error.hint(),
        ),
    }
}

/// Whether another run holds the lock, and whether an interrupted run left a journal.
pub(super) fn state(lines: &mut Lines, config: Option<&Config>) {
    let Some(config) = config else {
        lines.skip(Code::LOCK, NO_CONFIG);
        lines.skip(Code::JOURNAL, NO_CONFIG);
        return;
    };
    let locked = apply::locked(&config.root);
    let busy = matches!(locked, Ok(Some(_)));
    match locked {
        Ok(None) => lines.pass(Code::LOCK, "free"),
        Ok(Some(error)) | Err(error) => lines.fault(Code::LOCK, &Errors::from(error)),
    }
    match apply::pending(&config.root) {
        Ok(None) => lines.pass(Code::JOURNAL, "none: no run was interrupted"),
        Ok(Some(_)) if busy => lines.skip(Code::JOURNAL, "belongs to the run that holds the lock"),
        Ok(Some(recovery)) if recovery.state == State::Conflict => {
            lines.fault(
                Code::JOURNAL,
                &Errors::from(apply::Error::Unresolved(recovery)),
            );
        }
        Ok(Some(recovery)) => {
            let files = number(recovery.files.len(), "file");
            let reason = format!(
                "an interrupted --apply left its journal about {files} ({})",
                recovery.state.as_str()
            );
            let hint = "run `repin recover` to finish or undo it; the next --apply does so too";
            lines.fail(
                Code::JOURNAL,
                Exit::Because(Class::Conflict),
                reason,
                hint.to_owned(),
            );
        }
        Err(error) => lines.fault(Code::JOURNAL, &Errors::from(error)),
    }
}

/// Whether an engine can run the smoke command.
pub(super) fn engine(lines: &mut Lines, config: Option<&Config>, cx: &Context) {
    let Some(config) = config else {
        return lines.skip(Code::ENGINE, NO_CONFIG);
    };
    let Some(smoke) = &config.smoke else {
        return lines.unconcerned(Code::ENGINE, "smoke");
    };
    let variables = cx.services.environment.for_engine(config);
    // Not needed to ask for a version.
    let machine = String::new();
    let around = EngineContext {
        variables,
        machine,
        interrupted: Arc::default(),
    };
    let found = smoke::probe(smoke, &around);
    let there: Vec<_> = found
        .iter()
        .filter_map(|(_, said)| said.as_deref().ok())
        .collect();
    let reason = || {
        let one = |(name, said): &(smoke::EngineName, Result<String, String>)| {
            said.as_ref()
                .err()
                .map(|reason| format!("{name}: {reason}"))
        };
        format!(
            "no container engine is usable: {}",
            found.iter().filter_map(one).collect::<Vec<_>>().join("; ")
        )
    };
    match (there.as_slice(), smoke.skip_when_unavailable) {
        ([], true) => lines.skip(
            Code::ENGINE,
            format!("{} (smoke.when_unavailable is skip)", reason()),
        ),
        ([], false) => {
            let hint = "install or start an engine, or set smoke.when_unavailable: skip";
            lines.fail(
                Code::ENGINE,
                Exit::Because(Class::Failed),
                reason(),
                hint.to_owned(),
            );
        }
        (there, _) => {
            lines.pass(
                Code::ENGINE,
                format!(
                    "{}; no container was run, because that writes",
                    there.join(", ")
                ),
            );
        }
    }
}

/// Whether the secrets that the configuration names are set.
pub(super) fn secrets(lines: &mut Lines, config: Option<&Config>, skip: bool, cx: &Context) {
    let Some(config) = config else {
        return lines.skip(Code::SECRET, NO_CONFIG);
    };
    let mut named: Vec<(&str, &str)> = config
        .smoke
        .iter()
        .flat_map(|smoke| smoke.env.iter().map(|name| (name.as_str(), "smoke.env")))
        .collect();
    named.extend(
        config
            .freshness
            .iter()
            .filter_map(|entry| Some((entry.token_env.as_deref()?, "token_env"))),
    );
    if named.is_empty() {
        return lines.unconcerned(Code::SECRET, "token_env");
    }
    for (name, key) in named {
        match cx.services.environment.filled(name) {
            Some(_) => lines.pass(Code::SECRET, format!("{name} is set ({key})")),
            None if skip => lines.skip(Code::SECRET, format!("{name} is not set ({key})")),
            None => {
                let hint =
                    format!("set {name} in the environment of repin, or remove it from `{key}`");
                lines.fail(
                    Code::SECRET,
                    Exit::Because(Class::Denied),
                    format!("{name} is not set ({key})"),
                    hint,
                );
            }
        }
    }
}

/// The trusted roots of the policy, and how long their authorities last.
pub(super) fn roots(lines: &mut Lines, config: Option<&Config>, cx: &Context) {
    let Some(config) = config else {
        return lines.skip(Code::TRUSTED_ROOT, NO_CONFIG);
    };
    if config.verify.is_none() {
        return lines.unconcerned(Code::TRUSTED_ROOT, "verify");
    }
    let read = Trust::read(config, &WorkTree::new(&config.root));
    match read.and_then(|trust| trust::since_exists(config).map(|()| trust)) {
        Ok(Some(trust)) => {
            for root in trust.roots((cx.services.environment.clock)()) {
                let hint =
                    "renew the root: for GitHub, gh attestation trusted-root > trusted_root.jsonl";
                match root.warning {
                    Some(warning) => lines.warn(Code::TRUSTED_ROOT, warning, hint),
                    None => lines.pass(Code::TRUSTED_ROOT, root.detail),
                }
            }
        }
        Ok(None) => {}
        Err(fault) => lines.fault(Code::TRUSTED_ROOT, &fault),
    }
}
