//! Which branch holds the history that counts.

use std::collections::BTreeMap;

use super::{Git, GitError, ObjectId};

/// A remote-tracking branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// As people write it: `origin/main`.
    pub name: String,
    /// Its last commit.
    pub tip: ObjectId,
}

/// One reference: where it points, and the reference that it stands for, if it is symbolic.
struct Reference {
    tip: ObjectId,
    stands_for: Option<String>,
}

const REMOTES: &str = "refs/remotes/";

impl Git {
    /// The remote-tracking branch `configured`, or that of the remote's default branch: what
    /// `refs/remotes/origin/HEAD` (or that of the only remote) stands for, else the one of `main`
    /// and `master` that is there.
    ///
    /// Local branches are never looked at: what is not pushed was not promoted.
    pub fn branch(&self, configured: Option<&str>) -> Result<Branch, GitError> {
        let found = match configured {
            Some(name) => self.configured(name),
            None => self.default_branch(),
        };
        match found {
            Err(GitError::NoBranch(_) | GitError::NoDefault)
                if self.answer("for-each-ref", &["--count=1"])?.is_empty() =>
            {
                Err(GitError::Unborn)
            }
            found => found,
        }
    }

    fn configured(&self, name: &str) -> Result<Branch, GitError> {
        let missing = || GitError::NoBranch(name.to_owned());
        // Behind this prefix nothing is an option or an expression, and of what a glob may match
        // only the name itself counts.
        let whole = format!("{REMOTES}{name}");
        let mut references = self.references(&[&whole])?;
        let reference = references.remove(&whole).ok_or_else(missing)?;
        Ok(Branch {
            name: name.to_owned(),
            tip: reference.tip,
        })
    }

    fn default_branch(&self) -> Result<Branch, GitError> {
        let mut references = self.references(&[
            "refs/remotes/*/HEAD",
            "refs/remotes/*/main",
            "refs/remotes/*/master",
        ])?;
        let remote_of =
            |name: &String| Some(name.strip_prefix(REMOTES)?.rsplit_once('/')?.0.to_owned());
        let mut remotes: Vec<String> = references.keys().filter_map(remote_of).collect();
        remotes.dedup();
        let remote = match remotes.as_slice() {
            [] => return Err(GitError::NoDefault),
            [only] => only.clone(),
            several if several.iter().any(|name| name == "origin") => "origin".to_owned(),
            _ => return Err(GitError::AmbiguousRemote(remotes)),
        };
        let within = format!("{REMOTES}{remote}/");
        if let Some(head) = references.remove(&format!("{within}HEAD")) {
            let name = head
                .stands_for
                .as_deref()
                .and_then(|target| target.strip_prefix(&within));
            if let Some(name) = name {
                return Ok(Branch {
                    name: format!("{remote}/{name}"),
                    tip: head.tip,
                });
            }
        }
        let [main, master] =
            ["main", "master"].map(|name| (name, references.remove(&format!("{within}{name}"))));
        match (main, master) {
            ((_, Some(_)), (_, Some(_))) => Err(GitError::AmbiguousDefault(remote)),
            ((name, Some(found)), _) | (_, (name, Some(found))) => Ok(Branch {
                name: format!("{remote}/{name}"),
                tip: found.tip,
            }),
            _ => Err(GitError::NoDefault),
        }
    }

    /// What each reference of this repository below `prefix` (`refs/x/`) names, by the rest of its
    /// name.
    pub(crate) fn tips_below(&self, prefix: &str) -> Result<BTreeMap<String, ObjectId>, GitError> {
        let found = self.references(&[prefix])?.into_iter();
        let rest = |(name, reference): (String, Reference)| {
            Some((name.strip_prefix(prefix)?.to_owned(), reference.tip))
        };
        Ok(found.filter_map(rest).collect())
    }

    /// References that match one of the patterns (git-for-each-ref), by their full names.
    fn references(&self, patterns: &[&str]) -> Result<BTreeMap<String, Reference>, GitError> {
        // A reference's name holds neither a blank nor a newline.
        let args = [
            &["--format=%(refname) %(objectname) %(symref)", "--"],
            patterns,
        ]
        .concat();
        let listed = self.answer("for-each-ref", &args)?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let name = words.next()?.to_owned();
            let tip = ObjectId::parse(words.next()?.as_bytes())?;
            let stands_for = words
                .next()
                .filter(|target| !target.is_empty())
                .map(str::to_owned);
            Some((name, Reference { tip, stands_for }))
        };
        Ok(listed.lines().filter_map(parse).collect())
    }
}
