//! The commits between the revisions of two sets, and the page that compares them.

use super::{Comparison, SetState, common_label};
use crate::{
    app::workflow::{Services, build_source::BuildSource},
    base::error::Error,
    config::{Config, SourceRepository},
    core::changes::{CommitList, NotRead, Origin, Reader, SourceChanges},
    forge::Target,
    git::{CommitRange, Git, GitError, HostedRepository, ObjectId},
};

/// The label with the address of the source (OCI image specification, "Annotations").
const SOURCE_LABEL: &str = "org.opencontainers.image.source";

/// The hosts of public forges, whose addresses in labels are trusted to be links.
const PUBLIC_HOSTS: [&str; 3] = ["github.com", "codeberg.org", "gitea.com"];

/// The source of the images, on a forge if it is known.
struct Repository {
    address: Option<String>,
    origin: Origin,
    target: Option<Target>,
}

/// Reads the commits, from this clone or from the source, which is fetched.
pub(super) fn read(
    comparison: &Comparison<'_>,
    config: &Config,
    selected: &[bool],
    services: &Services,
    not_read: &mut Vec<NotRead>,
) -> SourceChanges {
    let build_source = BuildSource::new(config, services);
    let repository = repository(comparison, config, selected, build_source.as_ref());
    let mut source = repository.changes(comparison.is_rollback);
    let sets = [&comparison.from.state, &comparison.to.state];
    let Some([older, newer]) = commits_to_read(sets, &mut source, not_read) else {
        return source;
    };
    let own = own_repository(comparison.git, &source, config);
    let own = own
        .as_ref()
        .map(|own| BuildSource::at(own, config, services))
        .filter(is_on_forge);
    let read = match commits(comparison.git, &older, &newer) {
        Ok(Some(ranges)) => Ok((Reader::Clone, ranges)),
        Ok(None) => {
            let missing = missing(comparison.git, config);
            match build_source.as_ref().or(own.as_ref()) {
                None => Err(missing.to_owned()),
                Some(fetched) => {
                    let work = read_fetched(fetched, &older, &newer);
                    let read = services.wait(work, "fetching the commits of the source");
                    read.map_err(|reason| format!("{missing}; {reason}"))
                }
            }
        }
        Err(error) => Err(Error::from(error).text()),
    };
    repository.add(read, [&older, &newer], &mut source, not_read);
    source
}

/// Reads the commits between the current set of a repository of a fleet and the new one, without a clone.
pub(super) async fn read_for_fleet(
    build_source: &BuildSource<'_>,
    sets: [&SetState; 2],
    is_rollback: bool,
    not_read: &mut Vec<NotRead>,
) -> SourceChanges {
    let repository = Repository::configured(build_source);
    let mut source = repository.changes(is_rollback);
    let Some([older, newer]) = commits_to_read(sets, &mut source, not_read) else {
        return source;
    };
    let read = read_fetched(build_source, &older, &newer).await;
    repository.add(read, [&older, &newer], &mut source, not_read);
    source
}

/// Fetches the commits of both revisions.
async fn read_fetched(
    source: &BuildSource<'_>,
    older: &ObjectId,
    newer: &ObjectId,
) -> Result<(Reader, [CommitRange; 2]), String> {
    let reader = if is_on_forge(source) {
        Reader::Forge
    } else {
        Reader::Clone
    };
    Ok((reader, source.ranges(older, newer).await?))
}

fn is_on_forge(source: &BuildSource<'_>) -> bool {
    matches!(source.target(), Ok(Some(_)))
}

/// The revisions of both sets as commits, unless the result is known without them.
fn commits_to_read(
    sets: [&SetState; 2],
    source: &mut SourceChanges,
    not_read: &mut Vec<NotRead>,
) -> Option<[ObjectId; 2]> {
    let [from, to] = sets.map(|set| set.revision.as_deref());
    let (from, to) = (from?, to?);
    if from == to {
        source.descendant = Some(true);
        source.added = Some(CommitList::NONE);
        source.removed = Some(CommitList::NONE);
        return None;
    }
    let [older, newer] = [from, to].map(|revision| ObjectId::parse(revision.as_bytes()));
    let (Some(older), Some(newer)) = (older, newer) else {
        not_read.push(NotRead::commits(
            "commits are listed only between revisions that are commit ids",
        ));
        return None;
    };
    Some([older, newer])
}

impl Repository {
    fn configured(source: &BuildSource<'_>) -> Self {
        Self {
            address: Some(source.name().to_owned()),
            origin: Origin::Configuration,
            target: source.target().ok().flatten(),
        }
    }

    /// The changes without commits.
    fn changes(&self, is_rollback: bool) -> SourceChanges {
        let target = self.target.as_ref();
        SourceChanges {
            repository: self.address.clone(),
            stated_by: Some(self.origin),
            is_reversed: is_rollback,
            pull_requests: target
                .and_then(Target::pull_request_pages)
                .map(String::from),
            ..SourceChanges::default()
        }
    }

    /// Adds the commits of both directions, or the reason why they are unknown, and the link.
    fn add(
        &self,
        read: Result<(Reader, [CommitRange; 2]), String>,
        commits: [&ObjectId; 2],
        source: &mut SourceChanges,
        not_read: &mut Vec<NotRead>,
    ) {
        match read {
            Ok((reader, ranges)) => {
                let [added, removed] = ranges.map(CommitList::from);
                source.descendant = Some(removed.count == 0);
                source.is_reversed |= added.count == 0;
                source.added = Some(added);
                source.removed = Some(removed);
                source.read_from = Some(reader);
            }
            Err(reason) => not_read.push(NotRead::commits(reason)),
        }
        let mut ends = commits.map(ToString::to_string);
        if source.is_reversed {
            ends.reverse();
        }
        let [from, to] = &ends;
        let page = self
            .target
            .as_ref()
            .and_then(|target| target.comparison(from, to));
        source.link = page.map(String::from);
    }
}

/// The reason that no clone has the commits.
fn missing(git: Option<&Git>, config: &Config) -> &'static str {
    match git {
        None => "no clone is available",
        Some(git) if git.is_shallow() => "this clone is shallow",
        Some(_) if config.source.is_none() => {
            "this clone does not contain both revisions, and `source` is not configured"
        }
        Some(_) => "this clone does not contain both revisions",
    }
}

/// This repository on its forge: its commits are fetched if the clone is shallow and the images state no other
/// source.
fn own_repository(
    git: Option<&Git>,
    source: &SourceChanges,
    config: &Config,
) -> Option<SourceRepository> {
    let git = git.filter(|git| git.is_shallow())?;
    let forge = config.forge.as_ref()?;
    if source.stated_by != Some(Origin::Clone) {
        return None;
    }
    match &forge.repository {
        Some(name) => Some(SourceRepository::OnForge(name.clone())),
        None => git.origin().ok().flatten().map(SourceRepository::Location),
    }
}

/// The commits that the newer revision adds, and those that it takes away; `None` if the clone does not have them.
fn commits(
    git: Option<&Git>,
    older: &ObjectId,
    newer: &ObjectId,
) -> Result<Option<[CommitRange; 2]>, GitError> {
    // The ranges of a shallow clone lack commits.
    let Some(git) = git.filter(|git| !git.is_shallow()) else {
        return Ok(None);
    };
    if !git.has_commit(older)? || !git.has_commit(newer)? {
        return Ok(None);
    }
    git.ranges(older, newer, CommitList::MAX).map(Some)
}

/// The configured source, or the one that all images of both sets state.
fn repository(
    comparison: &Comparison<'_>,
    config: &Config,
    selected: &[bool],
    source: Option<&BuildSource<'_>>,
) -> Repository {
    if let Some(source) = source {
        return Repository::configured(source);
    }
    let labels =
        [&comparison.from, &comparison.to].map(|set| common_label(set, selected, SOURCE_LABEL));
    if let [Some(from), Some(to)] = labels
        && from == to
        && let Some(target) = known_target(to, config)
    {
        let without_suffix = |text: &str| text.strip_suffix(".git").unwrap_or(text).to_owned();
        let is_proven = |proven: &String| without_suffix(proven) == without_suffix(to);
        let proven = &comparison.proven_sources;
        let is_signed = !proven.is_empty() && proven.iter().all(is_proven);
        return Repository {
            address: Some(to.to_owned()),
            origin: if is_signed {
                Origin::Signature
            } else {
                Origin::Label
            },
            target: Some(target),
        };
    }
    Repository {
        address: None,
        origin: Origin::Clone,
        target: None,
    }
}

/// The repository of an address on a known host: HTTPS, or the scheme of the configured forge.
fn known_target(address: &str, config: &Config) -> Option<Target> {
    let hosted = HostedRepository::parse(address)?;
    let web = hosted.web.as_ref()?;
    let exact = format!("{web}/{}/{}", hosted.owner, hosted.name);
    if address != exact && address.strip_suffix(".git") != Some(&exact) {
        return None;
    }
    let (kind, api) = if PUBLIC_HOSTS
        .iter()
        .any(|host| *web == format!("https://{host}"))
    {
        Target::public_api(Some(address)).ok()?
    } else {
        let forge = config.forge.as_ref().filter(|forge| forge.url.is_some())?;
        let (kind, api) = Target::api(&forge.address(), None).ok()?;
        if !Target::is_on_server(kind, &api, &hosted) {
            return None;
        }
        (kind, api)
    };
    Target::hosted(kind, api, &hosted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::tests::git;

    #[test]
    fn clone_without_both_commits_has_no_ranges() {
        let directory = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| git(directory.path(), args);
        run(&["init", "-q"]);
        let [old, new] = ["old", "new"].map(|title| {
            run(&["commit", "-q", "--allow-empty", "-m", title]);
            ObjectId::parse(run(&["rev-parse", "HEAD"]).trim_ascii()).unwrap()
        });
        let missing = ObjectId::parse(&[b'1'; 40]).unwrap();
        let git = Git::open(directory.path()).unwrap();
        let count = |older, newer| {
            let ranges = commits(Some(&git), older, newer).unwrap();
            ranges.map(|ranges| ranges.map(|range| range.count))
        };
        assert_eq!(count(&old, &new), Some([1, 0]));
        assert_eq!(count(&missing, &new), None);
        assert_eq!(count(&old, &missing), None);
    }
}
