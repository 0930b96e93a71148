//! The commit of an applied plan: exactly its files, with the title and the trailer that identify
//! the set in history.
//!
//! The head of the base branch in the clone, as a site that is only read.
//!
//! The commands of git that return to a promoted set while its images cannot be verified.
//!
//! Commands are suggested only if they restore exactly the pins of the set: others would return to another set.
//! Uncommitted changes of the files are stashed first, because they would be destroyed.

use std::{collections::BTreeMap, path::Path};

use super::{
    Services, SiteHistory,
    branch_files::files_of,
    commit_errors::{not_whole, obstructed},
    engine::Planned,
    environment,
    other_checkout::OtherCheckout,
    site::{MAX_LOCAL, Site, checks_of_files, parse_at_base},
};
use crate::{
    app::report::json::PlanDocument,
    base::{
        error::{Class, Code, Error, Errors},
        files::{CHART, Files, MAX_CONFIG_SIZE, RelPath, Snapshot},
        untrusted::{plain, shell},
    },
    config::{Config, Operation, Trailer},
    core::{
        checks::{self, Check},
        history::{Promoted, Provenance},
        outside,
        pins::{self, FoundPins},
        plan::{FileChange, Plan},
    },
    git::{
        BeforeCommit, Branch, BranchSources, CommitPlan, Committed, Git, GitError, ObjectId,
        TreeFile, blob_id,
    },
    oci::Revision,
};

/// The most files in a suggested command.
const FILES_SHOWN: usize = 20;

/// A commit that can be made.
pub(super) struct ReadyCommit<'p> {
    git: Git,
    planned: &'p Planned,
    config: &'p Config,
    tree: &'p dyn Files,
    /// The commit at `HEAD` before the files are changed.
    base: ObjectId,
    /// The files with their contents after the change.
    files: Vec<(&'p RelPath, &'p [u8])>,
    /// The number of pins that the commit changes.
    pub(super) pins: usize,
}

impl ReadyCommit<'_> {
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// The command that publishes the commit; `None` without a remote.
    pub(super) fn push_command(&self) -> Option<String> {
        push_command(&self.git)
    }

    /// Resets the entries of the files in the index to `HEAD`.
    pub(super) fn unstage(&self) -> Result<(), GitError> {
        let paths: Vec<_> = self.files.iter().map(|(path, _)| *path).collect();
        self.git.unstage(&paths)
    }
}

/// The command that pushes the checked-out branch to its upstream, or to the branch of the same name; `None` without a
/// remote.
fn push_command(git: &Git) -> Option<String> {
    if let Ok(Some(upstream)) = git.upstream_of_head() {
        if upstream.is_pushed {
            return Some("git push".to_owned());
        }
        let (remote, branch) = (shell(&upstream.remote), shell(&upstream.branch));
        return Some(format!("git push {remote} HEAD:{branch}"));
    }
    let remotes = git.remotes().unwrap_or_default();
    let mut by_name = remotes.iter();
    let remote = by_name.find(|name| *name == "origin").or(remotes.first())?;
    Some(format!("git push {} HEAD", shell(remote)))
}

/// The reason that the plan is not committed.
pub(super) enum NotCommitted {
    /// No commit contains the files, which can be restored.
    Nothing(String),
    /// A commit may contain them.
    Doubtful(Errors),
}

/// Opens the repository, and checks that a commit with the plan's content of every planned file can be
/// made, and would contain no other change. Earlier changes of pins are a part of the plan, so that the
/// commit contains the whole set. `None`: `HEAD` already contains the plan.
pub(super) fn ready<'p>(
    planned: &'p Planned,
    config: &'p Config,
    files: &'p dyn Files,
) -> Result<Option<ReadyCommit<'p>>, Errors> {
    let to_errors = |error: GitError| Errors::from(Error::from(&error));
    let plan = &planned.plan;
    let changes: BTreeMap<&RelPath, &FileChange> = plan
        .changes()
        .iter()
        .chain(plan.unchanged())
        .map(|change| (&change.path, change))
        .collect();
    let git = Git::open(&config.root).map_err(to_errors)?;
    let paths: Vec<&RelPath> = changes.keys().copied().collect();
    let (base, modified) = match git.before_commit(&paths).map_err(to_errors)? {
        BeforeCommit::Ready { base, modified } => (base, modified),
        BeforeCommit::Obstacle(obstacle) => return Err(obstructed(obstacle)),
    };
    let mut committed: BTreeMap<&RelPath, usize> = plan
        .changes()
        .iter()
        .map(|change| (&change.path, change.pins))
        .collect();
    let mut obstacles = Vec::new();
    for file in &modified {
        let change = changes[&file.path];
        let Some(head) = git.blob(file.head, MAX_LOCAL).map_err(to_errors)? else {
            obstacles.push(format!("{}: larger than 64 MiB at HEAD", file.path));
            continue;
        };
        let from_head = Plan::of_content(&planned.approved, config, files, &file.path, head);
        if from_head.old == from_head.new && change.old == change.new {
            // The commit does not contain this file.
            continue;
        }
        let id = file.head.to_string();
        let expected = blob_id(&from_head.new, &id);
        let is_expected = git
            .stores(&file.path, &change.new, &expected)
            .map_err(to_errors)?;
        if !is_expected {
            obstacles.push(format!(
                "{}: more than its pins differs from HEAD",
                file.path
            ));
        } else if file.index != file.head && file.index.to_string() != expected {
            obstacles.push(format!("{}: another content is staged", file.path));
        } else if from_head.pins == 0 {
            committed.remove(&file.path);
        } else {
            committed.insert(&change.path, from_head.pins);
        }
    }
    if !obstacles.is_empty() {
        return Err(not_whole(obstacles));
    }
    if committed.is_empty() {
        return Ok(None);
    }
    if let Some(obstacle) = git.commit_obstacle().map_err(to_errors)? {
        return Err(obstructed(obstacle));
    }
    Ok(Some(ReadyCommit {
        git,
        planned,
        config,
        tree: files,
        base,
        pins: committed.values().sum(),
        files: committed
            .keys()
            .map(|path| (*path, changes[path].new.as_slice()))
            .collect(),
    }))
}

pub(super) fn commit(
    ready: &ReadyCommit<'_>,
    document: &PlanDocument,
) -> Result<ObjectId, NotCommitted> {
    let trailers = document.trailers.join("\n");
    let approved = &ready.planned.approved;
    let changed = |path: &RelPath, content| {
        Plan::of_content(approved, ready.config, ready.tree, path, content).new
    };
    let plan = CommitPlan {
        base: &ready.base,
        files: &ready.files,
        changed: &changed,
        title: &document.title,
        trailers: &trailers,
    };
    match ready.git.commit_only(&plan) {
        Ok(Committed::AsPlanned(id)) => Ok(id),
        Ok(Committed::Undone(difference)) => {
            let index = ready.unstage().map_or_else(
                |error| format!("; the index still has the new contents: {error}"),
                |()| String::new(),
            );
            Err(NotCommitted::Nothing(format!(
                "a hook or a filter of this repository changed the commit: {difference}; HEAD was set back{index}"
            )))
        }
        Ok(Committed::Kept(id, difference)) => Err(doubtful(
            &format!("commit {id} differs from the plan: {difference}"),
            &format!("inspect the commit with `git show {id}`, then amend or revert it"),
        )),
        Ok(Committed::Unverified(error)) => Err(doubtful(
            &format!("the commit may have been made, but cannot be verified: {error}"),
            "inspect the latest commits with `git log --stat`, then amend or revert the commit",
        )),
        Err(error) => Err(NotCommitted::Nothing(error.to_string())),
    }
}

/// The error for changed files that could not be restored, without a commit.
pub(super) fn uncommitted(
    ready: &ReadyCommit<'_>,
    document: &PlanDocument,
    reason: &str,
) -> Errors {
    let paths: Vec<_> = ready.files.iter().map(|(path, _)| *path).collect();
    let trailers = document.trailers.join("\n");
    finish_by_hand(
        &ready.config.root,
        &paths,
        &document.title,
        &trailers,
        reason,
    )
}

fn finish_by_hand(
    root: &Path,
    paths: &[&RelPath],
    title: &str,
    trailers: &str,
    reason: &str,
) -> Errors {
    let message = format!(
        "the files were changed, but nothing was committed: {}",
        plain(reason)
    );
    let mut words = vec![
        format!("git -C {}", shell(&root.to_string_lossy())),
        "--literal-pathspecs commit --only".to_owned(),
        format!("-m {}", shell(title)),
        format!("-m {}", shell(trailers)),
        "--".to_owned(),
    ];
    let names = paths.iter().map(|path| shell(&path.to_string()));
    words.extend(names.take(FILES_SHOWN));
    let mut error = Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
        .help(format!("finish by hand: {}", words.join(" ")));
    if paths.len() > FILES_SHOWN {
        let rest = paths.len() - FILES_SHOWN;
        error.notes = vec![format!("name the other {rest} files of the diff, too")];
    }
    Errors::from(error)
}

/// The error for changed files and a commit that may differ from the plan.
fn doubtful(problem: &str, help: &str) -> NotCommitted {
    let message = format!("the files were changed; {}", plain(problem));
    let error = Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(help);
    NotCommitted::Doubtful(error.into())
}

/// The head of the base branch in the clone around the root.
pub(super) struct CommitSite {
    config: Config,
    files: Snapshot,
    git: Git,
    branch: Branch,
}

impl CommitSite {
    /// Reads the configuration and the files of the base branch. The configuration of the work tree
    /// selects the branch.
    pub(super) fn open(local: &Config, services: &Services) -> Result<Self, Errors> {
        let git = services.git(local).map_err(Error::from)?;
        let stated = environment::default_branch(&services.environment, Some(&git));
        let sources = BranchSources {
            base: local.forge.as_ref().and_then(|forge| forge.base.as_deref()),
            ci: stated.as_deref(),
            remote_of: local.provenance.branch.as_deref(),
            ..BranchSources::default()
        };
        let branch = git.promoted_branch(&sources).map_err(Error::from)?;
        let config = config_of(local, &git, &branch)?;
        let files = files_of(&config, &git, &branch)?;
        Ok(Self {
            config,
            files,
            git,
            branch,
        })
    }
}

impl Site for CommitSite {
    fn config(&self) -> &Config {
        &self.config
    }

    fn files(&self) -> &dyn Files {
        &self.files
    }

    fn pins(&self, operation: Operation) -> Result<(FoundPins, Vec<Check>), Errors> {
        let config = &self.config;
        let found = pins::find(&self.files, config)?;
        let commit = self.branch.tip.to_string();
        let outside = outside::commit(config, &self.git, &commit, &found);
        let outside = checks::check_outside(config, &found, &outside, operation);
        let checks = checks_of_files(config, &found, outside, operation);
        Ok((found, checks))
    }
}

/// The configuration on the branch. It passes variables to the smoke command, so it is restricted like
/// that of the work tree.
fn config_of(local: &Config, git: &Git, branch: &Branch) -> Result<Config, Errors> {
    let name = format!("{} ({})", branch.name, local.file_name());
    let unusable = |reason: &str| {
        let message = format!("the base branch has no usable configuration: {name} {reason}");
        let help = format!("merge {} into the base branch, and fetch it", local.file);
        Errors::from(Error::input(Code::CONFIG, message).help(help))
    };
    let path = RelPath::parse(local.file_name())
        .map_err(|error| unusable(&format!("has an unusable path: {error}")))?;
    let file = git.file(&branch.tip, &path, MAX_CONFIG_SIZE);
    let bytes = match file.map_err(Error::from)? {
        TreeFile::Content(bytes) => bytes,
        TreeFile::Absent => return Err(unusable("does not exist")),
        TreeFile::TooLarge => return Err(unusable("has more than 1 MiB")),
    };
    let text = String::from_utf8(bytes).map_err(|_| unusable("is not UTF-8"))?;
    parse_at_base(local, name, &text)
}

/// The maximum size of a restored file, in bytes.
const MAX_FILE: u64 = 8 << 20;

/// The commands that return to the set of a revision, or the reason that git cannot return exactly to it; `None` if
/// no commit recorded the set.
pub(crate) fn git_restore(
    revision: &Revision,
    config: &Config,
    services: &Services,
) -> Option<String> {
    let site = SiteHistory::for_work_tree(config, services);
    let Provenance::Found(promoted) = site.promoted().ok()?.provenance(revision) else {
        return None;
    };
    let set = format!(
        "the set {} of commit {}",
        plain(revision.as_str()),
        promoted.commit.short()
    );
    let git = site.git()?;
    let Restoration { files, modified } = match Restoration::find(&promoted, config, git) {
        Ok(restoration) => restoration,
        Err(reason) => {
            return Some(format!(
                "git alone cannot return exactly to {set}: {reason}; run the command again once the registry is \
                 available"
            ));
        }
    };
    let push = OtherCheckout::find(&site).ok()?;
    let push = match push {
        Some(checkout) => checkout.push_command(),
        None => push_command(git).unwrap_or_else(|| "git push".to_owned()),
    };
    let directory = services.environment.directory();
    let mut git = "git".to_owned();
    if directory != config.root {
        git = format!("git -C {}", shell(&config.root.to_string_lossy()));
    }
    let push = push.replace("git ", &format!("{git} "));
    let title = config.templates(Operation::Rollback).title;
    let title = shell(&title.render(revision.as_str(), &config.name));
    let trailer = shell(&Trailer::line(revision.as_str(), &config.set_path));
    let names = |files: &[RelPath]| {
        let names: Vec<_> = files.iter().map(|file| shell(&file.to_string())).collect();
        names.join(" ")
    };
    let (mut stash, mut pop) = (String::new(), String::new());
    if !modified.is_empty() {
        let modified = names(&modified);
        stash = format!("  {git} --literal-pathspecs stash push -- {modified} &&\n");
        pop = format!(
            "\nthe first command stashes your uncommitted changes of {modified}; after the push, restore them with: {git} stash pop"
        );
    }
    let (names, commit) = (names(&files), &promoted.commit);
    Some(format!(
        "without a check of the images, git returns to {set}; this also undoes other changes of these files since \
         then. {NOT_CHECKED}:\n{stash}  \
         {git} --literal-pathspecs restore --source={commit} -- {names} &&\n  \
         {git} --literal-pathspecs commit --only -m {title} -m {trailer} -- {names}\n\
         then publish the commit with: {push}{pop}"
    ))
}

/// The files to restore for exactly the pins of a set.
struct Restoration {
    files: Vec<RelPath>,
    /// Those with uncommitted changes.
    modified: Vec<RelPath>,
}

impl Restoration {
    /// Compares the files at `HEAD` with those of the set, or returns the reason that they cannot be restored to exactly
    /// its pins.
    fn find(promoted: &Promoted, config: &Config, git: &Git) -> Result<Self, String> {
        let unreadable = || "the files with pins of HEAD cannot be read".to_owned();
        let head = git.head().map_err(|_| unreadable())?;
        let committed = files_of(config, git, &head).map_err(|_| unreadable())?;
        let found = pins::find(&committed, config).map_err(|_| unreadable())?;
        let mut restored = Snapshot::default();
        let mut files = Vec::new();
        for path in files_with_pins(&found) {
            let former = content(git, &promoted.commit, path)
                .ok_or_else(|| format!("the commit has no readable file {path}"))?;
            if former != content(git, &head.tip, path).ok_or_else(unreadable)? {
                files.push(path.clone());
            }
            let chart = path.as_path().with_file_name(CHART);
            if committed.has_chart(&chart) {
                let chart = chart.to_str().and_then(|chart| RelPath::parse(chart).ok());
                restored.note_chart(&chart.ok_or_else(unreadable)?);
            }
            restored.insert(path.clone(), former);
        }
        if files.is_empty() {
            return Err("HEAD contains it already".to_owned());
        }
        let found = pins::find(&restored, config).ok();
        if !found.is_some_and(|found| is_whole(&found, promoted, config)) {
            return Err(
                "the commit does not contain exactly its pins in the present files".to_owned(),
            );
        }
        let paths: Vec<&RelPath> = files.iter().collect();
        match git
            .before_commit(&paths)
            .map_err(|error| error.to_string())?
        {
            BeforeCommit::Ready { modified, .. } => {
                let modified = modified.into_iter().map(|file| file.path).collect();
                Ok(Self { files, modified })
            }
            BeforeCommit::Obstacle(obstacle) => {
                let errors = obstructed(obstacle);
                let texts: Vec<_> = errors.iter().map(Error::text).collect();
                Err(texts.join("; "))
            }
        }
    }
}

/// The facts that a rollback by git alone does not prove.
const NOT_CHECKED: &str = "Not checked: that the images still exist, that their tags resolve to these digests, and their labels, \
     signatures and contents";

fn content(git: &Git, commit: &ObjectId, path: &RelPath) -> Option<Vec<u8>> {
    match git.file(commit, path, MAX_FILE).ok()? {
        TreeFile::Content(content) => Some(content),
        TreeFile::Absent | TreeFile::TooLarge => None,
    }
}

/// The files with pins, each once.
fn files_with_pins(found: &FoundPins) -> Vec<&RelPath> {
    let mut files: Vec<&RelPath> = found.pins().iter().map(|pin| &*pin.file).collect();
    files.dedup();
    files
}

/// Whether every image is pinned as often as declared, with its digest of the set only.
fn is_whole(found: &FoundPins, promoted: &Promoted, config: &Config) -> bool {
    let has_problems = !(found.malformed.is_empty() && found.refused.is_empty());
    let mut images = config.images.iter().enumerate();
    !has_problems
        && images.all(|(index, image)| {
            let digest = promoted.images.get(&image.name).copied();
            found.pins_of(index).count() == image.pins
                && found.digests_of(index) == Vec::from_iter(digest)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_names_the_first_files() {
        let paths: Vec<RelPath> = (0..=FILES_SHOWN)
            .map(|number| RelPath::parse(&format!("{number}.yml")).unwrap())
            .collect();
        let error = |count: usize| {
            let paths: Vec<_> = paths[..count].iter().collect();
            let errors = finish_by_hand(Path::new("/root"), &paths, "title", "trailer", "it");
            errors.into_iter().next().unwrap()
        };
        let all = error(FILES_SHOWN);
        assert!(all.help.unwrap().ends_with(" 19.yml"));
        assert!(all.notes.is_empty());
        let cut = error(FILES_SHOWN + 1);
        assert!(cut.help.unwrap().ends_with(" 19.yml"));
        assert_eq!(cut.notes, ["name the other 1 files of the diff, too"]);
    }
}
