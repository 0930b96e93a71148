//! `repin init --each GLOB`: one configuration in each directory that matches, regardless of the digests.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    PinnedTree,
    remote::GitRemote,
    selection::{Chosen, Selection},
    separation::{list, remaining},
    several::{self, Proposal},
};
use crate::{
    app::cli::{context::Context, exit::Exit, write_file::TargetFile},
    base::{
        code::Code,
        error::{Error, Errors, usage},
        files::{Glob, RelPath},
    },
    config::FILE_NAME,
};

pub(super) fn run(globs: &[String], print_only: bool, cx: &mut Context) -> Result<Exit, Errors> {
    if cx.has_config_option() {
        return Err(usage(format!(
            "`--each` and `--config` exclude each other: every new file is called {FILE_NAME}"
        )));
    }
    let root = cx.services.environment.directory().to_owned();
    let mut pinned = PinnedTree::search(&root, None, cx);
    let directories = std::mem::take(&mut pinned.directories);
    let directories: Vec<_> = directories.iter().map(RelPath::as_path).collect();
    let matched = matching(globs, &directories)?;
    // Pins in other files must not determine the images of the set.
    let others = pinned.discovery.split_off(|pin| {
        let mut above = pin.file.as_path().ancestors();
        above.any(|directory| matched.contains(directory))
    });
    if pinned
        .discovery
        .repositories
        .iter()
        .all(|one| one.pins.is_empty())
    {
        let message = format!("no image is pinned by digest below {}", list(&matched));
        let help = "pin the images as REPOSITORY@sha256:DIGEST where they are used, or select other directories";
        return Err(Errors::from(Error::input(Code::INIT, message).help(help)));
    }
    let remote = GitRemote::read(&root);
    let selection = Selection::choose(&pinned.discovery, &remote, cx)?;
    let chosen = selection.in_discovery(&pinned.discovery);
    let directories = with_pins(&chosen, &matched);
    refuse_nested(&directories)?;
    refuse_counted(&pinned, &chosen, &directories)?;
    let mut notes = Vec::new();
    let skipped: BTreeSet<_> = matched.difference(&directories).copied().collect();
    if !skipped.is_empty() {
        let names = list(&skipped);
        notes.push(format!(
            "skipped, because no image of the set is pinned there: {names}"
        ));
    }
    let mut targets = Vec::new();
    for directory in &directories {
        let file = root.join(directory).join(FILE_NAME);
        targets.push(TargetFile::new(&file, &root)?);
    }
    let mut warnings = pinned.counted.warnings.clone();
    // Also pins of images that are pinned below none of the directories.
    warnings.extend(remaining(&pinned, others.iter(), &directories));
    let proposal = Proposal {
        targets,
        warnings,
        notes,
    };
    several::run(
        &proposal,
        &pinned.counted,
        &selection,
        &remote,
        print_only,
        cx,
    )
}

/// The directories that the globs match. A glob without a match is refused.
fn matching<'d>(globs: &[String], directories: &[&'d Path]) -> Result<BTreeSet<&'d Path>, Errors> {
    let mut matched = BTreeSet::new();
    for text in globs {
        let glob = Glob::parse(text.trim_end_matches('/')).map_err(|error| {
            usage(format!(
                "`--each {text}`: expected a glob of directories below the current directory: {error}"
            ))
        })?;
        let found: Vec<_> = directories
            .iter()
            .filter(|path| glob.matches(path))
            .collect();
        if found.is_empty() {
            return Err(usage(format!("`--each {text}` matches no directory")));
        }
        matched.extend(found);
    }
    Ok(matched)
}

/// The matched directories below which an image of the set is pinned.
fn with_pins<'d>(chosen: &Chosen<'_>, matched: &BTreeSet<&'d Path>) -> BTreeSet<&'d Path> {
    let mut directories = BTreeSet::new();
    for pin in chosen.repositories().flat_map(|pinned| &pinned.pins) {
        let above = pin.file.as_path().ancestors();
        directories.extend(above.filter_map(|directory| matched.get(directory)));
    }
    directories
}

/// Refuses a directory in another one, because both configurations would count its pins.
fn refuse_nested(directories: &BTreeSet<&Path>) -> Result<(), Errors> {
    for directory in directories {
        let mut above = directory.ancestors().skip(1);
        if let Some(outer) = above.find(|outer| directories.contains(outer)) {
            let (directory, outer) = (directory.display(), outer.display());
            let message = format!(
                "`--each` matches {outer} and {directory}: both configurations would count the pins below {directory}"
            );
            let help = "select directories that do not contain each other, such as `--each '*'` or `--each 'envs/*'`";
            return Err(Errors::from(Error::input(Code::INIT, message).help(help)));
        }
    }
    Ok(())
}

/// Refuses the directories with pins of the set that an existing configuration counts.
fn refuse_counted(
    pinned: &PinnedTree,
    chosen: &Chosen<'_>,
    directories: &BTreeSet<&Path>,
) -> Result<(), Errors> {
    let mut counted: BTreeMap<&str, BTreeSet<&Path>> = BTreeMap::new();
    for pin in chosen.repositories().flat_map(|pinned| &pinned.pins) {
        if let Some(configuration) = pinned.counted.configuration_of(&pinned.root, pin) {
            let mut above = pin.file.as_path().ancestors();
            let directory = above.find_map(|directory| directories.get(directory));
            counted.entry(configuration).or_default().extend(directory);
        }
    }
    if counted.is_empty() {
        return Ok(());
    }
    let mut errors = Vec::new();
    for (configuration, directories) in counted {
        let names = list(&directories);
        let message = format!("{configuration} already counts pins below {names}");
        let help = format!(
            "remove {configuration}, exclude these directories in its `files`, or select other directories"
        );
        errors.push(Error::input(Code::INIT, message).help(help));
    }
    Err(Errors::from(errors))
}
