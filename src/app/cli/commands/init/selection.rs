//! The choice of the repositories that form the set.

use std::collections::{BTreeMap, HashMap};

use super::{question, remote::GitRemote};
use crate::{
    app::cli::{context::Context, format::Format},
    base::{
        code::Code,
        error::{Error, Errors},
        text::counted,
    },
    core::pins::discover::{
        Discovery, PinnedRepository,
        groups::{self, Guess, Reason},
        names,
    },
    oci::Repository,
};

/// The repositories of the set, for every configuration that a run writes.
pub(super) struct Selection {
    /// The names by repository.
    members: HashMap<Repository, String>,
    /// The common prefix that was removed from the names.
    common_name: Option<String>,
    /// The reasons for leaving out the other repositories.
    others: HashMap<Repository, Reason>,
    /// A remark for the user to review, if the choice was uncertain.
    remark: Option<String>,
}

/// The set as pinned below one directory, and the other repositories that are pinned there.
pub(super) struct Chosen<'s> {
    /// The images with their names, sorted by repository.
    pub(super) members: Vec<(&'s str, &'s PinnedRepository)>,
    pub(super) others: Vec<(&'s PinnedRepository, Reason)>,
    pub(super) common_name: Option<&'s str>,
    /// Remarks for the user to review.
    pub(super) remarks: Vec<String>,
    /// The reason why an earlier lookup of attestations failed; the lookup is not repeated.
    pub(super) unavailable: Option<String>,
}

impl Selection {
    pub(super) fn choose(
        discovery: &Discovery,
        remote: &GitRemote,
        cx: &Context,
    ) -> Result<Self, Errors> {
        let guess = groups::guess(&discovery.repositories, remote.owner.as_deref());
        if guess.groups.is_empty() {
            return Err(no_pins(discovery));
        }
        let mut remark = None;
        let selected = if guess.sure {
            vec![0]
        } else if cx.services.environment.can_prompt() && cx.output.format == Format::Human {
            question::prompt(&guess.groups, &discovery.repositories, &cx.output)?
        } else {
            remark = Some(uncertainty(&guess));
            vec![0]
        };
        let (mut members, mut others) = (Vec::new(), HashMap::new());
        for (index, group) in guess.groups.iter().enumerate() {
            for member in &group.members {
                let repository = &discovery.repositories[*member].repository;
                if selected.contains(&index) {
                    members.push(repository);
                } else {
                    others.insert(repository.clone(), Reason::OtherOwner);
                }
            }
        }
        for (index, reason) in &guess.apart {
            others.insert(discovery.repositories[*index].repository.clone(), *reason);
        }
        members.sort_by_cached_key(|repository| repository.canonical());
        let names = names::names(&members);
        Ok(Self {
            members: members.into_iter().cloned().zip(names.images).collect(),
            common_name: names.common,
            others,
            remark,
        })
    }

    /// The pinned images of the set, and the other pinned repositories.
    pub(super) fn in_discovery<'s>(&'s self, discovery: &'s Discovery) -> Chosen<'s> {
        let (mut members, mut others) = (Vec::new(), Vec::new());
        for pinned in &discovery.repositories {
            if pinned.pins.is_empty() {
                continue;
            }
            if let Some(name) = self.members.get(&pinned.repository) {
                members.push((name.as_str(), pinned));
            } else if let Some(reason) = self.others.get(&pinned.repository) {
                others.push((pinned, *reason));
            }
        }
        members.sort_by_cached_key(|(_, pinned)| pinned.repository.canonical());
        others.sort_by_cached_key(|(pinned, _)| pinned.repository.canonical());
        let mut remarks: Vec<_> = self.remark.iter().cloned().collect();
        for error in &discovery.unread {
            remarks.push(format!("pins there are not counted: {error}"));
        }
        for path in &discovery.unnameable {
            remarks.push(format!(
                "cannot count pins in {path}: the name is not UTF-8"
            ));
        }
        Chosen {
            members,
            others,
            common_name: self.common_name.as_deref(),
            remarks,
            unavailable: None,
        }
    }
}

impl<'s> Chosen<'s> {
    /// The same without the images that are other artifacts, each with the reason.
    pub(super) fn without(&self, artifacts: &BTreeMap<String, String>) -> Result<Self, Errors> {
        let mut remarks = self.remarks.clone();
        for (name, reason) in artifacts {
            remarks.push(format!("`{name}` is not part of the set: {reason}"));
        }
        let (mut members, mut others) = (Vec::new(), self.others.clone());
        for (name, pinned) in &self.members {
            if artifacts.contains_key(*name) {
                others.push((*pinned, Reason::OtherArtifact));
            } else {
                members.push((*name, *pinned));
            }
        }
        if members.is_empty() {
            let message = format!("no image is pinned by digest: {}", remarks.join("; "));
            return Err(Errors::from(Error::input(Code::INIT, message)));
        }
        others.sort_by_cached_key(|(pinned, _)| pinned.repository.canonical());
        Ok(Self {
            members,
            others,
            common_name: self.common_name,
            remarks,
            unavailable: None,
        })
    }

    /// The same without further requests, because one failed.
    pub(super) fn with_unavailable(&self, errors: &Errors) -> Self {
        let errors: Vec<_> = errors.iter().map(Error::text).collect();
        Self {
            members: self.members.clone(),
            others: self.others.clone(),
            common_name: self.common_name,
            remarks: self.remarks.clone(),
            unavailable: Some(errors.join("; ")),
        }
    }

    pub(super) fn repositories(&self) -> impl Iterator<Item = &'s PinnedRepository> + Clone {
        self.members.iter().map(|(_, pinned)| *pinned)
    }
}

/// The remark if the first group is used without a confirmation.
fn uncertainty(guess: &Guess) -> String {
    let first = &guess.groups[0].owner;
    let others: Vec<_> = guess.groups[1..]
        .iter()
        .take(5)
        .map(|group| group.owner.as_str())
        .collect();
    if others.is_empty() {
        format!(
            "using {first} as the image set, although the remote has another owner; review `images:` before committing"
        )
    } else {
        format!(
            "using {first} as the image set, without {}; review `images:` before committing",
            others.join(" or ")
        )
    }
}

/// The error if no image is pinned.
fn no_pins(discovery: &Discovery) -> Errors {
    if let Some(error) = discovery.unread.first() {
        return Errors::io(error.to_string());
    }
    let message = format!(
        "no image is pinned by digest; {} scanned",
        counted(discovery.files, "file")
    );
    let hint = "pin the images as REPOSITORY@sha256:DIGEST where they are used, or write the configuration by hand \
                (`repin schema` describes it)";
    Errors::from(Error::input(Code::INIT, message).help(hint))
}
