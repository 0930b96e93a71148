//! The prompt for the images of the set, on a terminal.
//!
//! The choice of the repositories that form the set.
//!
//! Pinned artifacts that are not images, such as Helm charts: the set does not contain them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use super::remote::{self, GitRemote};
use crate::{
    app::{
        cli::{
            context::Context,
            format::Format,
            output::{Output, PROMPT_ATTEMPTS},
        },
        workflow::Services,
    },
    base::{
        error::{Code, Error, Errors, usage},
        files::RelPath,
        text::counted,
    },
    config::Config,
    core::pins::{
        FoundPins,
        discover::{
            Discovery, PinnedRepository,
            groups::{self, Group, Guess, Reason},
            tag_forms,
        },
    },
    oci::{Repository, TagOrDigest, registry::resolve},
};

/// The maximum number of groups in the prompt.
const MAX_GROUPS: usize = 20;
/// The number of images that are listed for a group.
const MAX_NAMES: usize = 6;

/// Prompts for the groups that make the set, and returns their indices; the default is the first group.
pub(super) fn prompt(
    groups: &[Group],
    repositories: &[PinnedRepository],
    output: &Output,
) -> Result<Vec<usize>, Errors> {
    let groups = &groups[..groups.len().min(MAX_GROUPS)];
    output.write_stderr(&question(groups, repositories));
    for _ in 0..PROMPT_ATTEMPTS {
        let Some(line) = output.ask("Numbers of the set, separated by blanks [1]: ")? else {
            break;
        };
        if let Some(indices) = parse(&line, groups.len()) {
            return Ok(indices);
        }
        output.write_stderr(&format!("Enter numbers from 1 to {}.\n", groups.len()));
    }
    Err(usage(
        "no answer to the question which images form the set; nothing was written",
    ))
}

fn question(groups: &[Group], repositories: &[PinnedRepository]) -> String {
    let mut text = "Which of these images form the set that is promoted together?\n".to_owned();
    for (index, group) in groups.iter().enumerate() {
        let (mut names, mut pins) = (Vec::new(), 0);
        for member in &group.members {
            let pinned = &repositories[*member];
            let name = pinned.repository.path().rsplit('/').next();
            names.push(name.unwrap_or_default());
            pins += pinned.pins.len();
        }
        if names.len() > MAX_NAMES {
            names.truncate(MAX_NAMES);
            names.push("…");
        }
        let _ = writeln!(
            text,
            "  {:>2}  {}: {} ({pins} pinned)",
            index + 1,
            group.owner,
            names.join(", ")
        );
    }
    text
}

/// Parses distinct numbers from 1 to `count`, and returns them as indices; `None` if the line is malformed.
fn parse(line: &str, count: usize) -> Option<Vec<usize>> {
    let mut indices = Vec::new();
    for word in line.split([' ', ',', '\t', '\r', '\n']) {
        if word.is_empty() {
            continue;
        }
        let number: usize = word.parse().ok()?;
        if !(1..=count).contains(&number) {
            return None;
        }
        if !indices.contains(&(number - 1)) {
            indices.push(number - 1);
        }
    }
    if indices.is_empty() {
        indices.push(0);
    }
    Some(indices)
}

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
pub(super) struct SelectedSet<'s> {
    /// The images with their names, sorted by repository.
    pub(super) members: Vec<(&'s str, &'s PinnedRepository)>,
    pub(super) others: Vec<(&'s PinnedRepository, Reason)>,
    pub(super) common_name: Option<&'s str>,
    /// Remarks for the user to review.
    pub(super) remarks: Vec<String>,
    /// The reason why an earlier lookup of attestations failed; the lookup is not repeated.
    pub(super) unavailable: Option<String>,
    /// The files of the other configurations of the run, if the names of files divide them; then the configuration
    /// must match exactly the files of its pins.
    pub(super) elsewhere: Option<BTreeSet<RelPath>>,
}

impl Selection {
    pub(super) fn choose(
        discovery: &Discovery,
        remote: &GitRemote,
        cx: &Context,
    ) -> Result<Self, Errors> {
        let guess = groups::guess(&discovery.repositories, remote.owner.as_deref());
        if guess.groups.is_empty() {
            return Err(no_pins(discovery).into());
        }
        let mut remark = None;
        let selected = if guess.sure {
            vec![0]
        } else if cx.services.environment.can_prompt() && cx.output.format == Format::Human {
            prompt(&guess.groups, &discovery.repositories, &cx.output)?
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
        let names = tag_forms::names(&members);
        Ok(Self {
            members: members.into_iter().cloned().zip(names.images).collect(),
            common_name: names.common,
            others,
            remark,
        })
    }

    /// The pinned images of the set, and the other pinned repositories.
    pub(super) fn in_discovery<'s>(&'s self, discovery: &'s Discovery) -> SelectedSet<'s> {
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
        SelectedSet {
            members,
            others,
            common_name: self.common_name.as_deref(),
            remarks,
            unavailable: None,
            elsewhere: None,
        }
    }
}

impl<'s> SelectedSet<'s> {
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
            elsewhere: self.elsewhere.clone(),
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
            elsewhere: self.elsewhere.clone(),
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
pub(super) fn no_pins(discovery: &Discovery) -> Error {
    if let Some(error) = discovery.unread.first() {
        return Error::io(error.to_string());
    }
    let message = format!(
        "no image is pinned by digest; {} scanned",
        counted(discovery.files, "file")
    );
    let hint = "pin the images as REPOSITORY@sha256:DIGEST where they are used, or write the configuration by hand \
                (`repin schema` describes it)";
    Error::input(Code::INIT, message).help(hint)
}

/// What the registries tell about the pinned digests.
#[derive(Default)]
pub(super) struct Artifacts {
    /// The names of the images whose digests are other artifacts, each with the reason.
    pub(super) names: BTreeMap<String, String>,
    /// The error of the first digest that could not be read.
    pub(super) unavailable: Option<Errors>,
}

/// Reads the manifest of each pinned image.
pub(super) fn find(config: &Config, found: &FoundPins, services: &Services) -> Artifacts {
    let sources = match services.sources_of_images(config) {
        Ok(sources) => sources,
        Err(errors) => return unavailable(errors),
    };
    let lookup = async {
        let mut artifacts = Artifacts::default();
        for (index, image) in config.images.iter().enumerate() {
            let Some(digest) = found.digests_of(index).first().copied() else {
                continue;
            };
            let reference = TagOrDigest::Digest(digest);
            match resolve::known_manifest(&sources[index], &reference, &[]).await {
                Ok(_) => {}
                Err(error) if error.code == Code::NOT_AN_IMAGE => {
                    artifacts.names.insert(image.name.clone(), error.message);
                }
                Err(error) => {
                    artifacts.unavailable.get_or_insert_with(|| error.into());
                }
            }
        }
        Ok(artifacts)
    };
    let found = remote::wait(lookup, "reading the pinned images", services);
    found.unwrap_or_else(unavailable)
}

fn unavailable(errors: Errors) -> Artifacts {
    Artifacts {
        unavailable: Some(errors),
        ..Artifacts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed() {
        assert_eq!(parse("\n", 3), Some(vec![0]));
        assert_eq!(parse("2\n", 3), Some(vec![1]));
        assert_eq!(parse(" 3, 1 3\r\n", 3), Some(vec![2, 0]));
        for wrong in ["0", "4", "y", "1 x", "-1"] {
            assert_eq!(parse(wrong, 3), None, "{wrong}");
        }
    }
}
