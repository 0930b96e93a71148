//! The site of a run: the repository in which a set is promoted.
//!
//! A site provides the files with pins, the history of the set, and the place that receives the
//! plan. There are three: the work tree with its clone, the head of a branch on a forge with the
//! clone around the root, and the head of a branch on a forge without a clone, as in a fleet.
//!
//! The files with pins of the sets in history, with their numbers of pins and their tags, from the objects
//! of the clone.
//!
//! Detects a configuration or a set that the promoted branch does not contain yet.
//!
//! Errors of the configuration that only the files reveal: globs and places that select nothing, and places
//! that find the same digest.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry};

use super::{
    Access, ApplyMode, BranchRole, OpenRequest, Services, SiteHistory, base,
    branch_files::listed_files, connection::connect_repository, history::Origin,
    history_branch::configured_branch, known_heads::HeadOnForge, push::PushTarget,
};
use crate::{
    app::{
        pull_request::{Base, Content, ForgeRepository},
        report::history_page::{FileOfSet, PinsOfFile},
    },
    base::{
        error::{Class, Code, Error, Errors, SourceText},
        files::{Files, Glob, Globs, Snapshot, WorkTree},
        text::counted,
    },
    config::{self, Config, Operation},
    core::{
        apply::Session,
        checks::{self, Check, Status},
        history::{History, HistoryEntry, HoldScope, PinnedFile},
        outside::{self, Scope, TrackedTree},
        pins::{self, Finder, FoundPins},
    },
    git::{self, Git, GitError, ObjectId, TreeFile},
};

/// The maximum size of a blob that is read from a local clone, in bytes.
pub(super) const MAX_LOCAL: u64 = 64 * 1024 * 1024;

/// Where a set is promoted.
pub(super) trait Site {
    /// The configuration at the site.
    fn config(&self) -> &Config;

    fn files(&self) -> &dyn Files;

    /// Whether the run sends requests to the forge.
    fn has_forge(&self) -> bool {
        false
    }

    /// Finds the pins, and checks the files as a whole: references outside the counted pins, and globs
    /// that match nothing.
    fn pins(&self, operation: Operation) -> Result<(FoundPins, Vec<Check>), Errors>;

    /// The history for the site; by default that of the clone around the root.
    fn history(&self, services: &Services) -> SiteHistory {
        SiteHistory::for_verdict(self.config(), services)
    }
}

/// The work tree, with the clone around it.
pub(super) struct WorkTreeSite {
    pub(super) config: Config,
    pub(super) files: WorkTree,
    /// `None`: the plan is only shown.
    pub(super) change: Option<WorkTreeChange>,
}

/// The permission to change the work tree.
pub(super) struct WorkTreeChange {
    /// The lock.
    pub(super) session: Session,
    pub(super) mode: ApplyMode,
    /// The branch that receives the commit.
    pub(super) push: Option<PushTarget>,
}

/// The head of a branch on a forge.
pub(super) struct BranchSite {
    pub(super) config: Config,
    pub(super) head: BranchHead,
    /// `None`: the pull request is only shown.
    pub(super) open: Option<OpenRequest>,
}

/// The head of the branch that receives pull requests.
pub(super) struct BranchHead {
    pub(super) repository: ForgeRepository,
    pub(super) base: Base,
    pub(super) files: Snapshot,
    /// The root's path in the repository: empty, or with a `/` at its end.
    pub(super) prefix: String,
    /// The branch of the history; `None` in a fleet.
    pub(super) history: Option<HeadOnForge>,
}

impl WorkTreeSite {
    pub(super) fn new(config: &Config, change: Option<WorkTreeChange>) -> Self {
        Self {
            config: config.clone(),
            files: WorkTree::new(&config.root),
            change,
        }
    }
}

impl Site for WorkTreeSite {
    fn config(&self) -> &Config {
        &self.config
    }

    fn files(&self) -> &dyn Files {
        &self.files
    }

    fn pins(&self, operation: Operation) -> Result<(FoundPins, Vec<Check>), Errors> {
        let config = &self.config;
        // The history is read after the files.
        git::start_version_check();
        let tree = TrackedTree::open(config);
        let found = pins::find(tree.files(), config)?;
        let outside = tree.search(config, &found, Scope::Counted);
        let outside = checks::check_outside(config, &found, &outside, operation);
        let checks = checks_of_files(config, &found, outside, operation);
        Ok((found, checks))
    }

    fn history(&self, services: &Services) -> SiteHistory {
        SiteHistory::for_change(&self.config, services)
    }
}

impl BranchSite {
    /// Reads the base branch from the forge, to show a pull request. It is read for each plan because it
    /// may have moved. `own`: the branch of the pull request.
    pub(super) fn open(
        config: &Config,
        own: Option<&str>,
        services: &Services,
    ) -> Result<Access<Self>, Errors> {
        let git = services.discover_git(config).map_err(Error::from)?;
        base::check_known_bases(config, git.as_ref(), services)?;
        let repository = match connect_repository(config, git.as_ref(), services)? {
            Access::Granted(repository) => repository,
            Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
        };
        let work = read(config, git.as_ref(), repository, own);
        let (config, head) = services.wait(work, "reading the base branch")?;
        Ok(Access::Granted(Self {
            config,
            head,
            open: None,
        }))
    }
}

impl Site for BranchSite {
    fn config(&self) -> &Config {
        &self.config
    }

    fn files(&self) -> &dyn Files {
        &self.head.files
    }

    fn has_forge(&self) -> bool {
        true
    }

    fn pins(&self, operation: Operation) -> Result<(FoundPins, Vec<Check>), Errors> {
        let (config, base) = (&self.config, &self.head.base);
        let found = pins::find(&self.head.files, config)?;
        let outside = if let Some(history) = &self.head.history {
            let outside = outside::commit(config, &history.git, &base.head, &found);
            checks::check_outside(config, &found, &outside, operation)
        } else {
            let reason = "a fleet reads no files but those that `files` matches";
            [
                Code::PIN_COUNTED_TWICE,
                Code::PIN_OUTSIDE,
                Code::DIGEST_OUTSIDE,
            ]
            .map(|code| Check::new(code, Status::Skip, reason))
            .to_vec()
        };
        let checks = checks_of_files(config, &found, outside, operation);
        Ok((found, checks))
    }

    fn history(&self, services: &Services) -> SiteHistory {
        match &self.head.history {
            Some(head) => SiteHistory::up_to(head, &self.config, HoldScope::All, services),
            None => SiteHistory::for_verdict(&self.config, services),
        }
    }
}

/// The checks of the files as a whole. `outside`: those of references outside the counted pins.
pub(super) fn checks_of_files(
    config: &Config,
    found: &FoundPins,
    outside: Vec<Check>,
    operation: Operation,
) -> Vec<Check> {
    let mut checks = checks::check_unmatched_globs(config, found);
    checks.extend(outside);
    if operation == Operation::Promotion {
        checks.extend(checks::check_unpinned(config, found));
    }
    checks
}

/// Fetches the configuration and the files of the base branch's head.
async fn read(
    local: &Config,
    git: Option<&Git>,
    repository: ForgeRepository,
    own: Option<&str>,
) -> Result<(Config, BranchHead), Errors> {
    let prefix = git.map_or_else(String::new, |git| {
        String::from_utf8_lossy(git.prefix()).into_owned()
    });
    let path = format!("{prefix}{}", local.file_name());
    let branch = local.forge.as_ref().and_then(|forge| forge.base.as_deref());
    let mut base = Base::read(&repository, branch, own).await?;

    // The files that the local configuration needs are likely those that the base's needs. Then one
    // round of requests is enough.
    let mut paths = base.paths(&prefix, &local.scanned, &listed_files(local));
    paths.push(path.clone());
    base.read_files(&repository.content, &paths).await?;
    let config = parse(local, &base, &path)?;
    base::check_same(local, &config, &base.branch, git)?;
    let history = history_of(&repository.content, &base, &config).await?;
    let paths = base.paths(&prefix, &config.scanned, &listed_files(&config));
    base.read_files(&repository.content, &paths).await?;
    let files = base.snapshot(&prefix);
    let head = BranchHead {
        repository,
        base,
        files,
        prefix,
        history: Some(history),
    };
    Ok((config, head))
}

/// The promoted branch and its head on the forge: the branch in `provenance.branch`, or else the
/// base branch.
async fn history_of(
    content: &Content,
    base: &Base,
    config: &Config,
) -> Result<HeadOnForge, Errors> {
    let name = configured_branch(config).unwrap_or(&base.branch);
    if name == base.branch {
        return Ok(HeadOnForge::new(name.to_owned(), &base.head, content)?);
    }
    let commit = content.head(name).await?.ok_or_else(|| {
        let message = format!(
            "{} has no branch {name}, which `provenance.branch` names",
            base.repo.full_name
        );
        let file = config.file_name();
        let hint = format!("push the branch, or correct `provenance.branch` in {file}");
        Errors::from(Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(hint))
    })?;
    Ok(HeadOnForge::new(name.to_owned(), &commit, content)?)
}

fn parse(local: &Config, base: &Base, path: &str) -> Result<Config, Errors> {
    let name = format!("{} ({path})", base.branch);
    let unusable = |reason: &str| {
        let problem = Error::input(
            Code::CONFIG,
            format!("the base branch's head has no usable configuration: {name} {reason}"),
        );
        Errors::from(problem.help(format!("merge {} into the base branch first", local.file)))
    };
    let content = base
        .content(path)
        .ok_or_else(|| unusable("does not exist"))?;
    let text = std::str::from_utf8(content).map_err(|_| unusable("is not UTF-8"))?;
    parse_at_base(local, name, text)
}

/// Parses the configuration of the local set on its base branch. `name`: in messages.
pub(super) fn parse_at_base(local: &Config, name: String, text: &str) -> Result<Config, Errors> {
    let source = SourceText {
        text: text.into(),
        name,
    };
    let mut config = Config {
        file: local.file.clone(),
        option: local.option.clone(),
        ..config::parse(&source, &local.root, &local.set_path)?
    };
    base::know_job(&mut config, local);
    config.counts_pins()?;
    Ok(config)
}

/// The maximum size of a file whose pins are counted, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The files with pins of each entry.
pub(crate) fn set_files(
    git: &Git,
    history: &History,
    entries: &[HistoryEntry],
    config: &Config,
) -> Result<HashMap<ObjectId, Vec<FileOfSet>>, GitError> {
    let commits: HashSet<ObjectId> = entries.iter().map(|entry| entry.commit).collect();
    let mut reader = Reader {
        git,
        finder: Finder::for_images(&config.images),
        known: HashMap::new(),
    };
    let mut by_commit = HashMap::new();
    for (commit, files) in history.pinned_files(&commits) {
        let mut found = Vec::new();
        for file in files {
            found.push(FileOfSet {
                path: String::from_utf8_lossy(&file.path).into_owned(),
                pins: reader.pins(&file)?,
            });
        }
        by_commit.insert(commit, found);
    }
    Ok(by_commit)
}

/// Reads each content once: most files are equal in several sets.
struct Reader<'g> {
    git: &'g Git,
    finder: Finder,
    /// By the blob and its images: a place may apply to one of two files with the same content.
    known: HashMap<(ObjectId, BTreeSet<usize>), Vec<PinsOfFile>>,
}

impl Reader<'_> {
    fn pins(&mut self, file: &PinnedFile) -> Result<Vec<PinsOfFile>, GitError> {
        match self.known.entry((file.blob, file.images.clone())) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(entry) => {
                let pins = read_pins(file, self.git, &self.finder)?;
                Ok(entry.insert(pins).clone())
            }
        }
    }
}

fn read_pins(file: &PinnedFile, git: &Git, finder: &Finder) -> Result<Vec<PinsOfFile>, GitError> {
    let content = git.blob(file.blob, MAX_FILE)?;
    let scan = finder.scan(&content.unwrap_or_default());
    let mut pins = BTreeMap::new();
    for image in &file.images {
        let unread = PinsOfFile {
            image: *image,
            count: None,
            tags: BTreeSet::new(),
        };
        pins.insert(*image, unread);
    }
    for pin in scan.pins {
        // The history may ignore an image that is not pinned.
        if let Some(of_image) = pins.get_mut(&pin.image) {
            of_image.count = Some(of_image.count.unwrap_or(0) + 1);
            of_image
                .tags
                .extend(pin.tag.map(|tag| tag.as_str().to_owned()));
        }
    }
    Ok(pins.into_values().collect())
}

/// A configuration file that the promoted branch does not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnpushedAdoption {
    /// The commit that adds the file; `None` if `HEAD` does not contain the file either.
    pub commit: Option<ObjectId>,
}

/// The adoption of a set that only this clone contains; `None` without a remote, since a commit cannot
/// be pushed there.
pub(crate) fn unpushed_adoption(
    config: &Config,
    site_history: &SiteHistory,
) -> Result<Option<UnpushedAdoption>, GitError> {
    let Some((history, Origin::Clone { git, role })) = site_history.read() else {
        return Ok(None);
    };
    if *role == BranchRole::Local {
        return Ok(None);
    }
    let git = git.with_prefix(Vec::new());
    if contains(&git, &history.branch.tip, config)? {
        return Ok(None);
    }
    let head = match git.head() {
        Ok(head) => head.tip,
        Err(GitError::Unborn) => return Ok(Some(UnpushedAdoption { commit: None })),
        Err(error) => return Err(error),
    };
    if !contains(&git, &head, config)? {
        return Ok(Some(UnpushedAdoption { commit: None }));
    }
    // The branch may contain older commits that added the file and removed it.
    for commit in git.changes_of(&head, config.set_path.file())?.iter().rev() {
        if !git.is_ancestor(commit, &history.branch.tip)? {
            let commit = Some(*commit);
            return Ok(Some(UnpushedAdoption { commit }));
        }
    }
    // HEAD is older than a commit of the branch that removed the file.
    Ok(None)
}

/// The commit of this clone that made another set current than that of the promoted branch, and that is
/// not on this branch.
pub(crate) fn unpushed_set(
    config: &Config,
    site_history: &SiteHistory,
) -> Result<Option<HistoryEntry>, GitError> {
    let Some((history, Origin::Clone { git, role })) = site_history.read() else {
        return Ok(None);
    };
    let promoted = &history.branch.tip;
    let head = match git.head() {
        Ok(head) if *role == BranchRole::Promoted => head,
        Ok(_) | Err(GitError::Unborn) => return Ok(None),
        Err(error) => return Err(error),
    };
    if git.is_ancestor(&head.tip, promoted)? {
        return Ok(None);
    }
    let local = History::for_branch(git, config, head)?;
    let Some(current) = local.current() else {
        return Ok(None);
    };
    let is_pushed = history.current().map(|entry| &entry.images) == Some(&current.images)
        || git.is_ancestor(&current.commit, promoted)?;
    Ok((!is_pushed).then(|| current.clone()))
}

fn contains(git: &Git, commit: &ObjectId, config: &Config) -> Result<bool, GitError> {
    let file = git.file(commit, config.set_path.file(), 0)?;
    Ok(!matches!(file, TreeFile::Absent))
}

/// Checks that no two places find the same digest.
pub(crate) fn check_places(config: &Config, found: &FoundPins) -> Result<(), Errors> {
    let mut errors = Vec::new();
    for double_match in &found.double_matches {
        errors.push(double_match.error(config));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(errors.into())
}

/// Checks that every place can find a pin.
pub(crate) fn check_met(config: &Config, found: &FoundPins) -> Result<(), Errors> {
    let errors = checks::unmet_errors(config, found);
    if errors.is_empty() {
        return Ok(());
    }
    Err(errors.into())
}

/// Checks that every glob of `files` matches a file.
pub(crate) fn check_globs(config: &Config, found: &FoundPins) -> Result<(), Errors> {
    refuse(config, &found.unmatched)
}

/// Checks that every glob of `files` matches a file of the work tree, without a search for pins.
pub(crate) fn check_globs_of_work_tree(config: &Config) -> Result<(), Errors> {
    let listing = config.work_tree().list(&config.scanned)?;
    refuse(config, &listing.unmatched(&config.scanned))
}

fn refuse(config: &Config, unmatched: &[Glob]) -> Result<(), Errors> {
    let mut problems = Vec::new();
    for glob in unmatched {
        let mut problem = Error::input(Code::CONFIG, checks::no_match_message(config, glob))
            .at(config.location(glob.span(), ""))
            .help("correct or remove the glob");
        problem.notes.extend(skipped_files(config, glob));
        problems.push(problem);
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(problems.into())
}

/// The note about files that the glob matches and another rule skips.
fn skipped_files(config: &Config, glob: &Glob) -> Option<String> {
    let globs = Globs::parse([glob.as_str()]).ok()?;
    let listing = WorkTree::new(&config.root).list(&globs).ok()?;
    let (excluded, ignored): (Vec<_>, Vec<_>) = listing
        .files
        .iter()
        .partition(|path| config.scanned.excludes(path.as_path()));
    if !ignored.is_empty() {
        let files = counted(ignored.len(), "matching file");
        return Some(format!(
            "git ignores {files}; `files_ignored: include` counts such files"
        ));
    }
    if excluded.is_empty() {
        return None;
    }
    let files = counted(excluded.len(), "matching file");
    Some(format!("a glob that starts with `!` excludes {files}"))
}
