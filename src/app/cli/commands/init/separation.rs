//! Directories that pin the images of the set separately: a proposal if their digests differ, a
//! note if they are only called like environments.
//!
//! `repin init --each GLOB`: one configuration in each directory that matches, regardless of the digests.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    PinnedTree,
    question::{SelectedSet, Selection},
    remote::GitRemote,
    several::{self, Proposal},
};
use crate::{
    app::cli::{context::Context, output::Exit, write_file::TargetFile},
    base::{
        error::{Code, Error, Errors, usage},
        files::{Glob, RelPath},
        text::few,
        untrusted::shell,
    },
    config::FILE_NAME,
    core::pins::{
        Located, Pin,
        discover::{self, PinnedRepository, narrow},
    },
};

/// The maximum number of directories, repositories or places in a message.
const LISTED: usize = 10;

/// One configuration for each directory if the digests of an image differ between directories.
/// Directories with counted pins only are omitted; `None` if no other directory remains.
pub(super) fn differing(
    pinned: &PinnedTree,
    selection: &Selection,
    single: &TargetFile,
    print_only: bool,
) -> Result<Option<Proposal>, Errors> {
    let chosen = selection.in_discovery(&pinned.discovery);
    let members: Vec<_> = chosen.repositories().collect();
    let directories = discover::differing(&members);
    let open = with_uncounted_pins(pinned, &members, &directories);
    if open.is_empty() {
        return Ok(None);
    }
    let names = list(&directories);
    let mut warnings = pinned.counted.warnings.clone();
    if single.exists() && !print_only {
        return Err(one_set_exists(single.display_name(), &names));
    }
    if single.exists() {
        let name = single.display_name();
        warnings.push(format!(
            "{name} exists: remove it, so that no pin is counted twice"
        ));
    }
    let mut targets = Vec::new();
    let mut written = String::new();
    for directory in &open {
        let file = pinned.root.join(directory).join(FILE_NAME);
        let target = TargetFile::new(&file, &pinned.root)?;
        written = format!("{written} {}", shell(target.display_name()));
        targets.push(target);
    }
    let mut images = members.clone();
    images.retain(|member| differs_between(member, &directories));
    let images = images.iter().map(|image| image.repository.as_str());
    let remove = if print_only {
        String::new()
    } else {
        format!("rm --{written} && ")
    };
    warnings.push(format!(
        "the digests of {} differ between {names}. Either these are separate environments, which need a configuration \
         each, as proposed; or a promotion is half-finished, and one configuration is enough: \
         `{remove}repin --config {FILE_NAME} init`",
        few(images, LISTED)
    ));
    let pins = members.iter().flat_map(|member| &member.pins);
    warnings.extend(remaining(pinned, pins, &directories));
    let counted: BTreeSet<_> = directories.difference(&open).copied().collect();
    let mut notes = Vec::new();
    if !counted.is_empty() {
        notes.push(format!(
            "left out, because existing configurations count their pins: {}",
            list(&counted)
        ));
    }
    Ok(Some(Proposal {
        targets,
        warnings,
        notes,
    }))
}

/// The note if the images are pinned below directories that are called like environments, with the
/// command that separates them. `single` is the one configuration for all of them.
pub(super) fn note(
    pinned: &PinnedTree,
    selection: &Selection,
    single: &TargetFile,
    written: bool,
) -> Option<String> {
    let chosen = selection.in_discovery(&pinned.discovery);
    let members: Vec<_> = chosen.repositories().collect();
    let directories = discover::named(&members);
    let open = with_uncounted_pins(pinned, &members, &directories);
    let globs = globs(&members, &open)?;
    let mut command = String::new();
    let path = Path::new(single.display_name());
    if let Some(directory) = path.parent().filter(|path| *path != Path::new("")) {
        command = format!("cd {} && ", shell(&directory.to_string_lossy()));
    }
    if written || single.exists() {
        let name = shell(&single.name().to_string());
        command = format!("{command}rm -- {name} && ");
    }
    Some(format!(
        "images are pinned below {}, which have names of environments, but this configuration does not \
         separate them. To separate them: `{command}repin init --each {globs}`",
        list(&directories)
    ))
}

/// The warning about uncounted pins below none of the directories, by image.
pub(super) fn remaining<'p>(
    pinned: &'p PinnedTree,
    pins: impl Iterator<Item = &'p Located<Pin>>,
    directories: &BTreeSet<&Path>,
) -> Option<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut environments: BTreeMap<&str, BTreeSet<&RelPath>> = BTreeMap::new();
    for pin in pins {
        let file = pin.file.as_path();
        let is_below = directories
            .iter()
            .any(|directory| file.starts_with(directory));
        let counted = pinned.counted.configuration_of(&pinned.root, pin);
        if !is_below && counted.is_none() {
            let image = &pinned.discovery.repositories[pin.item.image];
            let (line, column) = (pin.item.line, pin.item.column);
            let place = format!("{}:{line}:{column}", pin.file);
            let of_image = places.entry(image.repository.as_str()).or_default();
            of_image.push(place);
            if let Some(name) = discover::of_file_name(file) {
                environments.entry(name).or_default().insert(&pin.file);
            }
        }
    }
    if places.is_empty() {
        return None;
    }
    let images = places
        .into_iter()
        .map(|(image, places)| format!("{image} ({})", few(places.into_iter(), LISTED)));
    let mut files = Vec::new();
    for (name, of_name) in &environments {
        let paths = of_name.iter().map(|path| shell(&path.to_string()));
        let paths = few(paths, LISTED);
        files.push(format!("repin.{name}.yaml for {paths}"));
    }
    let help = if files.is_empty() {
        "run `repin init` again, or `repin --config repin.NAME.yaml init`, for a configuration that counts them"
            .to_owned()
    } else {
        format!(
            "the names of their files are those of environments, which need a configuration each: write it with \
             `repin --config repin.NAME.yaml init`, and limit its `files`: {}",
            few(files.into_iter(), LISTED)
        )
    };
    Some(format!(
        "images are pinned below none of these directories: {}; {help}",
        few(images, LISTED)
    ))
}

/// The directories with pins that no configuration counts.
fn with_uncounted_pins<'p>(
    pinned: &PinnedTree,
    members: &[&'p PinnedRepository],
    directories: &BTreeSet<&'p Path>,
) -> BTreeSet<&'p Path> {
    let mut open = BTreeSet::new();
    for pin in members.iter().flat_map(|member| &member.pins) {
        if pinned.counted.configuration_of(&pinned.root, pin).is_some() {
            continue;
        }
        let file = pin.file.as_path();
        open.extend(
            directories
                .iter()
                .filter(|directory| file.starts_with(directory)),
        );
    }
    open
}

/// Whether the pins of an image below these directories have different digests.
fn differs_between(member: &PinnedRepository, directories: &BTreeSet<&Path>) -> bool {
    let mut digests = BTreeSet::new();
    for pin in &member.pins {
        let file = pin.file.as_path();
        if directories
            .iter()
            .any(|directory| file.starts_with(directory))
        {
            digests.insert(pin.item.digest);
        }
    }
    digests.len() > 1
}

/// The error if one configuration exists for pins with different digests in several directories.
fn one_set_exists(single: &str, directories: &str) -> Errors {
    let message = format!(
        "{single} exists, but the digests differ between {directories}, so that each needs its own configuration"
    );
    let quoted = shell(single);
    let help = format!(
        "if these are separate environments, remove {single} in a commit of its own (`git rm -- {quoted}`), then run \
         `repin init` again; if a promotion is half-finished, `repin --config {quoted} init --force` writes one configuration"
    );
    Errors::from(Error::input(Code::INIT, message).help(help))
}

/// The arguments of `--each` for these directories: `DIRECTORY/*` if the images are pinned below no other
/// directory there; `None` if a path is not UTF-8.
fn globs(members: &[&PinnedRepository], directories: &BTreeSet<&Path>) -> Option<String> {
    let parent = directories.first()?.parent()?;
    let mut siblings = BTreeSet::new();
    for pin in members.iter().flat_map(|member| &member.pins) {
        let mut above = pin.file.as_path().ancestors().skip(1);
        siblings.extend(above.find(|directory| directory.parent() == Some(parent)));
    }
    if parent != Path::new("") && siblings == *directories {
        let parent = narrow::exactly(&RelPath::new(parent).ok()?)?;
        return Some(shell(&format!("{parent}/*")));
    }
    let mut globs = Vec::new();
    for directory in directories {
        let glob = narrow::exactly(&RelPath::new(directory).ok()?)?;
        globs.push(shell(&glob));
    }
    Some(globs.join(" "))
}

/// The first directories of a list, as text.
pub(super) fn list(directories: &BTreeSet<&Path>) -> String {
    let names = directories.iter().map(|path| path.display().to_string());
    few(names, LISTED)
}

pub(super) fn run_each(
    globs: &[String],
    print_only: bool,
    cx: &mut Context,
) -> Result<Exit, Errors> {
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
fn with_pins<'d>(chosen: &SelectedSet<'_>, matched: &BTreeSet<&'d Path>) -> BTreeSet<&'d Path> {
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
    chosen: &SelectedSet<'_>,
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
