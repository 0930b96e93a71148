//! The current branches and tags of the remotes, their objects, and the promotion and rollback branches
//! among them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::{
    base::{
        error::{Class, Code, Error},
        files::RelPath,
        untrusted::shell,
    },
    config::{Config, Revisions, Template},
    core::history::{CommitConfig, commit_config},
    git::{BranchSources, Git, GitError, ObjectId},
    oci::TagPattern,
};

/// The prefix of a branch's full name.
const BRANCHES: &str = "refs/heads/";
/// The prefix of a tag's full name.
const TAGS: &str = "refs/tags/";
/// The prefix of the full name of a pull request's head, and that of a merge request's on GitLab.
const PULLS: &str = "refs/pull/";
const MERGE_REQUESTS: &str = "refs/merge-requests/";
/// The maximum number of fetches of a reference that moves during the fetch.
const ROUNDS: usize = 4;

/// The head of an open pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullHead {
    /// The reference to it on the forge.
    pub reference: String,
    pub commit: ObjectId,
}

/// A branch, a tag or the head of a pull request of a remote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TipName {
    pub(super) remote: String,
    /// `refs/heads/main`, `refs/tags/v1`.
    reference: String,
}

impl TipName {
    /// The name of the branch; `None` for a tag.
    pub(super) fn branch(&self) -> Option<&str> {
        self.reference.strip_prefix(BRANCHES)
    }

    /// The location of its files.
    pub(super) fn location(&self) -> String {
        let remote = &self.remote;
        if let Some(tag) = self.reference.strip_prefix(TAGS) {
            return format!("at the tag {tag} of {remote}");
        }
        if let Some(pull) = self.reference.strip_prefix(PULLS) {
            let number = pull.trim_end_matches("/head");
            return format!("in pull request #{number} of {remote}");
        }
        if let Some(pull) = self.reference.strip_prefix(MERGE_REQUESTS) {
            let number = pull.trim_end_matches("/head");
            return format!("in merge request !{number} of {remote}");
        }
        let branch = self.branch().unwrap_or(&self.reference);
        format!("on {branch} of {remote}")
    }
}

/// The object of each branch and tag.
pub(super) type Tips = BTreeMap<TipName, ObjectId>;

/// The branches and tags of the remotes.
#[derive(Debug)]
pub(super) struct Branches {
    pub(super) git: Git,
    remotes: BTreeSet<String>,
    /// The branches that sets are promoted to, with their remotes.
    pub(super) bases: BTreeSet<(String, String)>,
    /// The names of this set's promotion and rollback branches.
    names: BranchNames,
    pub(super) tips: Tips,
    pulls: Vec<PullHead>,
}

/// The formats of promotion and rollback branches according to configurations.
#[derive(Debug, Default)]
pub(super) struct BranchNames(Vec<BranchName>);

/// A format of branches, and the revisions and tags of its configuration.
#[derive(Debug)]
struct BranchName {
    branch: Template,
    revisions: Revisions,
}

impl Branches {
    /// Lists the branches and tags, and adds the heads of `pulls`. `stated` is the default branch
    /// according to CI.
    pub(super) fn read(
        git: Git,
        config: &Config,
        stated: Option<&str>,
        pulls: &[PullHead],
    ) -> Result<Self, Error> {
        let history = git.promoted_branch(&BranchSources {
            configured: config.provenance.branch.as_deref(),
            base: None,
            ci: stated,
            remote_of: None,
        })?;
        let (remote, name) = git.remote_of(&history)?;
        // Pull requests may use another remote than the promotion history.
        let remotes = git
            .remotes()?
            .into_iter()
            .filter(|name| *name == remote || name == "origin")
            .collect();
        let mut branches = Self {
            git,
            remotes,
            bases: BTreeSet::from([(remote.clone(), name)]),
            names: BranchNames::default(),
            tips: Tips::new(),
            pulls: pulls.to_vec(),
        };
        branches.names.add(config);
        let default = branches.list()?.remove(&remote);
        let configured = config.forge.as_ref().and_then(|forge| forge.base.clone());
        let base = configured.or(default);
        branches.bases.extend(base.map(|base| (remote, base)));
        branches.add_past_names(config)?;
        branches.fetch()?;
        // Checked last, because a base may move while branches are fetched.
        branches.check_bases()?;
        Ok(branches)
    }

    /// Lists the current references of the remotes. Returns the default branch of each, if stated.
    fn list(&mut self) -> Result<BTreeMap<String, String>, Error> {
        let mut defaults = BTreeMap::new();
        self.tips.clear();
        for remote in &self.remotes {
            let references = self.git.remote_references(remote)?;
            for (reference, tip) in references.tips {
                let remote = remote.clone();
                self.tips.insert(TipName { remote, reference }, tip);
            }
            defaults.extend(references.default.map(|name| (remote.clone(), name)));
        }
        let listed: HashSet<ObjectId> = self.tips.values().copied().collect();
        // Pull requests are those of `origin`, and most have their branch in the same repository.
        for pull in &self.pulls {
            if !listed.contains(&pull.commit) {
                let name = TipName {
                    remote: "origin".to_owned(),
                    reference: pull.reference.clone(),
                };
                self.tips.insert(name, pull.commit);
            }
        }
        Ok(defaults)
    }

    /// Refuses a clone if a base differs from the remote.
    fn check_bases(&self) -> Result<(), Error> {
        for (remote, base) in &self.bases {
            let tip = self.git.branch(Some(&format!("{remote}/{base}")))?.tip;
            let remote_tip = self.tips.get(&TipName {
                remote: remote.clone(),
                reference: format!("{BRANCHES}{base}"),
            });
            if remote_tip != Some(&tip) {
                return Err(outdated(remote, base, &tip, remote_tip));
            }
        }
        Ok(())
    }

    /// Adds the branch formats of every past configuration of the bases, because an open branch may
    /// be older than the current configuration.
    fn add_past_names(&mut self, config: &Config) -> Result<(), Error> {
        let Ok(path) = RelPath::parse(config.file_name()) else {
            return Ok(());
        };
        for (remote, base) in &self.bases {
            let tip = self.git.branch(Some(&format!("{remote}/{base}")))?.tip;
            for commit in self.git.changes_of(&tip, &path)? {
                if let CommitConfig::Config(past) = commit_config(&self.git, &commit, config)? {
                    self.names.add(&past);
                }
            }
        }
        Ok(())
    }

    /// Fetches the missing objects of the listed references. References that move or vanish in the
    /// meantime are listed once more.
    fn fetch(&mut self) -> Result<(), Error> {
        let mut failed: Option<GitError> = None;
        for round in 0..ROUNDS {
            let tips: Vec<ObjectId> = self.tips.values().copied().collect();
            let missing: HashSet<ObjectId> = self.git.missing(&tips)?.into_iter().collect();
            if missing.is_empty() {
                return Ok(());
            }
            // The first failure may be a race with an update of the remote.
            if let Some(error) = failed.take().filter(|_| round > 1) {
                return Err(error.into());
            }
            for remote in &self.remotes {
                let names = names_of(&self.tips, remote, &missing);
                failed = self.git.fetch_references(remote, &names).err().or(failed);
            }
            self.list()?;
        }
        Err(failed.map_or_else(tips_keep_moving_error, Error::from))
    }

    /// Lists and fetches the branches, tags and heads of `pulls` that are new or have moved.
    pub(super) fn read_moved(&mut self, pulls: &[PullHead]) -> Result<Tips, Error> {
        pulls.clone_into(&mut self.pulls);
        let before = std::mem::take(&mut self.tips);
        self.list()?;
        self.fetch()?;
        let mut moved = Tips::new();
        for (name, tip) in &self.tips {
            if before.get(name) != Some(tip) {
                moved.insert(name.clone(), *tip);
            }
        }
        Ok(moved)
    }

    /// Refuses if a base is missing or among the moved references, or if a promotion or rollback branch is
    /// among them: of this set, or of another set by its `other_names`.
    pub(super) fn check_moved(&self, moved: &Tips, other_names: &BranchNames) -> Result<(), Error> {
        for (name, branch) in branches_of(moved) {
            if self.is_watched(name) || other_names.has_revision(branch) {
                return Err(moved_error(&name.remote, branch));
            }
        }
        for (remote, base) in &self.bases {
            let name = TipName {
                remote: remote.clone(),
                reference: format!("{BRANCHES}{base}"),
            };
            if !self.tips.contains_key(&name) {
                return Err(moved_error(remote, base));
            }
        }
        Ok(())
    }

    /// The heads of branches among `tips`.
    pub(super) fn heads(tips: &Tips) -> BTreeSet<ObjectId> {
        branches_of(tips).map(|(name, _)| tips[name]).collect()
    }

    /// Whether a branch is a base, or a promotion or rollback branch of this set.
    pub(super) fn is_watched(&self, name: &TipName) -> bool {
        name.branch().is_some_and(|branch| {
            self.bases
                .contains(&(name.remote.clone(), branch.to_owned()))
                || self
                    .names
                    .0
                    .iter()
                    .any(|name| name.revision_of(branch).is_some())
        })
    }

    /// The tags of the revision of a branch, by the templates of the current configuration, of past ones
    /// and of the other sets.
    pub(super) fn tags_of(
        &self,
        branch: &str,
        current: &Revisions,
        other_names: &BranchNames,
    ) -> BTreeSet<TagPattern> {
        let mut tags = BTreeSet::new();
        for name in self.names.0.iter().chain(&other_names.0) {
            tags.extend(name.tag_of(branch, &name.revisions));
            tags.extend(name.tag_of(branch, current));
        }
        tags
    }
}

/// The branches among `tips`, with their names.
fn branches_of(tips: &Tips) -> impl Iterator<Item = (&TipName, &str)> {
    tips.keys().filter_map(|name| Some((name, name.branch()?)))
}

fn moved_error(remote: &str, branch: &str) -> Error {
    let message = format!("{branch} of {remote} moved while this run was reading it");
    Error::new(Class::Unavailable, Code::BASE_MOVED, message).help("run the command again")
}

/// The refusal if branches keep moving.
pub(crate) fn tips_keep_moving_error() -> Error {
    let message = "branches of the remote keep moving while they are read";
    Error::new(Class::Unavailable, Code::BASE_MOVED, message).help("run the command again")
}

fn outdated(remote: &str, base: &str, local: &ObjectId, remote_tip: Option<&ObjectId>) -> Error {
    let local = local.short();
    let (message, help) = match remote_tip {
        // A bare clone has no refspec for its remote-tracking branches, and a clone of one branch has none for others.
        Some(tip) => (
            format!(
                "{remote}/{base} is at {local} in this clone, but at {} on the remote",
                tip.short()
            ),
            format!(
                "fetch it: git fetch {} {}",
                shell(remote),
                shell(&format!("+{BRANCHES}{base}:refs/remotes/{remote}/{base}"))
            ),
        ),
        None => (
            format!("{remote}/{base} is at {local} in this clone, but missing on the remote"),
            format!(
                "if the default branch was renamed: git fetch {0}, git remote set-head {0} --auto; if another branch \
                 counts, set `provenance.branch` in the configuration",
                shell(remote)
            ),
        ),
    };
    Error::new(Class::Unavailable, Code::BASE_BEHIND, message).help(help)
}

impl BranchNames {
    /// Adds the branch formats of a configuration.
    pub(super) fn add(&mut self, config: &Config) {
        for branch in config.branch_templates() {
            let name = BranchName {
                branch,
                revisions: config.revision.clone(),
            };
            if !self.0.iter().any(|known| known.is_equal(&name)) {
                self.0.push(name);
            }
        }
    }

    /// Whether a branch matches one of the formats, with a revision of the same configuration.
    fn has_revision(&self, branch: &str) -> bool {
        self.0.iter().any(|name| {
            let revision = name.revision_of(branch);
            revision.is_some_and(|text| name.revisions.pattern.revision(text).is_ok())
        })
    }
}

impl BranchName {
    fn is_equal(&self, other: &Self) -> bool {
        let (revisions, others) = (&self.revisions, &other.revisions);
        self.branch == other.branch
            && revisions.pattern.as_str() == others.pattern.as_str()
            && revisions.tag == others.tag
    }

    /// The revision in the name of a branch.
    fn revision_of<'b>(&self, branch: &'b str) -> Option<&'b str> {
        // The template of a branch cannot contain `{name}`.
        self.branch
            .revision_in(branch, "")
            .filter(|revision| !revision.is_empty())
    }

    fn tag_of(&self, branch: &str, revisions: &Revisions) -> Option<TagPattern> {
        let revision = revisions.pattern.revision(self.revision_of(branch)?).ok()?;
        revisions.tag.tag(&revision).ok()
    }
}

/// The names of the references of `remote` that point to one of `wanted`.
fn names_of<'t>(
    tips: &'t BTreeMap<TipName, ObjectId>,
    remote: &str,
    wanted: &HashSet<ObjectId>,
) -> Vec<&'t str> {
    let names = tips
        .iter()
        .filter(|(name, tip)| name.remote == remote && wanted.contains(tip));
    names.map(|(name, _)| name.reference.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_with_missing_objects_are_fetched() {
        let id = |digit: &str| ObjectId::parse(digit.repeat(40).as_bytes()).unwrap();
        let mut tips = BTreeMap::new();
        for (remote, reference, tip) in [
            ("origin", "refs/heads/a", "1"),
            ("origin", "refs/heads/b", "2"),
            ("fork", "refs/heads/a", "1"),
        ] {
            let (remote, reference) = (remote.to_owned(), reference.to_owned());
            tips.insert(TipName { remote, reference }, id(tip));
        }
        let names = names_of(&tips, "origin", &HashSet::from([id("1"), id("3")]));
        assert_eq!(names, ["refs/heads/a"]);
    }

    fn config(block: &str) -> Config {
        let text = format!(
            "version: 1\nname: set\nfiles: [a]\nimages:\n  a: {{ repository: x.y/a, pins: 1 }}\n{block}"
        );
        crate::config::example(&text)
    }

    #[test]
    fn former_revisions_of_one_branch_format_have_tags() {
        let mut names = BranchNames::default();
        for (pattern, tag) in [
            ("[a-d]", "{revision}"),
            ("[e-h]", "{revision}"),
            ("[a-d]", "x-{revision}"),
        ] {
            names.add(&config(&format!(
                "revision: {{ pattern: '{pattern}', tag: '{tag}' }}\n"
            )));
        }
        let tags = |revision: &str| {
            let branch = format!("repin/promote-{revision}");
            let tags = names.0.iter();
            let tags = tags.filter_map(|name| name.tag_of(&branch, &name.revisions));
            tags.collect::<BTreeSet<_>>()
        };
        let expected = |tags: &[&str]| {
            let tags = tags.iter().map(|tag| TagPattern::parse(tag).unwrap());
            tags.collect::<BTreeSet<_>>()
        };
        assert_eq!(tags("a"), expected(&["a", "x-a"]));
        assert_eq!(tags("e"), expected(&["e"]));
    }

    #[test]
    fn branch_without_revision_is_no_promotion_branch() {
        let config = config("");
        let revision = "a".repeat(40);
        let mut names = BranchNames::default();
        names.add(&config);
        let count = names.0.len();
        names.add(&config);
        assert_eq!(names.0.len(), count);
        let whole = config.revision.pattern.revision(&revision).unwrap();
        for template in [&config.promote.branch, &config.rollback.branch] {
            let branch = template.render(&whole, "set");
            let empty = branch.replace(&revision, "");
            assert!(names.has_revision(&branch));
            for (branch, expected) in [(&branch, Some(revision.as_str())), (&empty, None)] {
                let found = names.0.iter().find_map(|name| name.revision_of(branch));
                assert_eq!(found, expected, "{branch}");
            }
        }
        assert!(!names.has_revision("main"));
        let other = format!("repin/promote-{}", &revision[1..]);
        assert!(!names.has_revision(&other));
        assert!(names.has_revision(&format!("auto/runtime-promote-{revision}")));
    }
}
