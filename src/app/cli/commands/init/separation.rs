//! Directories, or files with the names of environments, that pin the images of the set separately: a proposal if
//! their digests differ, a note if they are only called like environments.
//!
//! `repin init --each GLOB`: one configuration in each directory that matches, regardless of the digests.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    PinnedTree,
    question::{SelectedSet, Selection},
    remote::GitRemote,
    several::{self, Proposal, Scope, Target},
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
        discover::{
            self, PinnedRepository,
            file_names::{self, FilesByName},
            narrow,
        },
    },
};

/// The maximum number of directories, repositories or places in a message.
const LISTED: usize = 10;

/// An environment that gets a configuration.
pub(super) struct Environment<'p> {
    /// The configuration, relative to the searched directory.
    file: PathBuf,
    scope: Scope<'p>,
}

/// The environments that directories, or else the names of files, divide by different digests.
fn environments<'p>(members: &[&'p PinnedRepository]) -> Vec<Environment<'p>> {
    let directories = discover::differing(members);
    if directories.is_empty() {
        return by_file_name(file_names::differing(members));
    }
    let environment = |directory: &'p Path| Environment {
        file: directory.join(FILE_NAME),
        scope: Scope::Below(directory),
    };
    directories.into_iter().map(environment).collect()
}

fn by_file_name(files: FilesByName<'_>) -> Vec<Environment<'_>> {
    let mut environments = Vec::new();
    for (name, files) in files {
        let file = match name {
            Some(name) => format!("repin.{name}.yaml"),
            None => FILE_NAME.to_owned(),
        };
        environments.push(Environment {
            file: file.into(),
            scope: Scope::Files(files),
        });
    }
    environments
}

/// One configuration for each environment if the digests of an image differ between them. Environments with
/// counted pins only are omitted; `None` if no other one remains.
pub(super) fn differing(
    pinned: &PinnedTree,
    selection: &Selection,
    single: &TargetFile,
    print_only: bool,
) -> Result<Option<Proposal>, Errors> {
    let chosen = selection.in_discovery(&pinned.discovery);
    let members: Vec<_> = chosen.repositories().collect();
    let environments = environments(&members);
    let is_open = |environment: &&Environment<'_>| {
        has_uncounted_pins(pinned, &members, &|file| environment.scope.contains(file))
    };
    let open: Vec<_> = environments.iter().filter(is_open).collect();
    if open.is_empty() {
        return Ok(None);
    }
    let names = environments
        .iter()
        .map(|environment| environment.scope.describe());
    let names = few(names, LISTED);
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
    for environment in &open {
        let file = pinned.root.join(&environment.file);
        let target = Target::new(&file, &pinned.root, &environment.scope)?;
        written = format!("{written} {}", shell(target.file.display_name()));
        targets.push(target);
    }
    let mut images = members.clone();
    images.retain(|member| differs_between(member, &environments));
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
    let scopes: Vec<_> = environments
        .iter()
        .map(|environment| &environment.scope)
        .collect();
    warnings.extend(remaining(pinned, pins, &scopes));
    let counted = environments
        .iter()
        .filter(|environment| !is_open(environment));
    let counted: Vec<_> = counted
        .map(|environment| environment.scope.describe())
        .collect();
    let mut notes = Vec::new();
    if !counted.is_empty() {
        notes.push(format!(
            "left out, because existing configurations count their pins: {}",
            few(counted.into_iter(), LISTED)
        ));
    }
    Ok(Some(Proposal {
        targets,
        warnings,
        notes,
    }))
}

/// Whether files that `contains` accepts have pins that no configuration counts.
fn has_uncounted_pins(
    pinned: &PinnedTree,
    members: &[&PinnedRepository],
    contains: &dyn Fn(&RelPath) -> bool,
) -> bool {
    let mut pins = members.iter().flat_map(|member| &member.pins);
    pins.any(|pin| {
        contains(&pin.file) && pinned.counted.configuration_of(&pinned.root, pin).is_none()
    })
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
    let mut open = directories.clone();
    open.retain(|directory| {
        has_uncounted_pins(pinned, &members, &|file| {
            file.as_path().starts_with(directory)
        })
    });
    let files = file_names::named(&members);
    let (globs, place) = match globs(&members, &open) {
        Some(globs) => (globs, format!("below {}", list(&directories))),
        None if directories.is_empty() && !files.is_empty() => {
            let files: Vec<_> = files.into_values().flatten().collect();
            let open = files
                .iter()
                .filter(|file| has_uncounted_pins(pinned, &members, &|other| other == **file));
            let globs = open.filter_map(|file| narrow::exactly(file).map(|glob| shell(&glob)));
            let globs: Vec<_> = globs.collect();
            if globs.is_empty() {
                return None;
            }
            let names = files.iter().map(ToString::to_string);
            (globs.join(" "), format!("in {}", few(names, LISTED)))
        }
        None => return None,
    };
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
        "images are pinned {place}, which have names of environments, but this configuration does not \
         separate them. To separate them: `{command}repin init --each {globs}`"
    ))
}

/// The warning about uncounted pins of none of the environments, by image.
fn remaining<'p>(
    pinned: &'p PinnedTree,
    pins: impl Iterator<Item = &'p Located<Pin>>,
    scopes: &[&Scope<'_>],
) -> Option<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut environments: BTreeMap<&str, BTreeSet<&RelPath>> = BTreeMap::new();
    for pin in pins {
        let file = pin.file.as_path();
        let is_below = scopes.iter().any(|scope| scope.contains(&pin.file));
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
    let by_directory = scopes.iter().any(|scope| matches!(scope, Scope::Below(_)));
    let place = if by_directory {
        "below none of these directories"
    } else {
        "in none of these files"
    };
    Some(format!(
        "images are pinned {place}: {}; {help}",
        few(images, LISTED)
    ))
}

/// Whether the pins of an image in these environments have different digests.
fn differs_between(member: &PinnedRepository, environments: &[Environment<'_>]) -> bool {
    let mut digests = BTreeSet::new();
    for pin in &member.pins {
        let mut scopes = environments.iter().map(|environment| &environment.scope);
        if scopes.any(|scope| scope.contains(&pin.file)) {
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
    let files = matching_files(globs, &directories, &pinned)?;
    if !files.is_empty() {
        return run_each_file(pinned, &files, print_only, cx);
    }
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
    let scopes: Vec<_> = directories
        .iter()
        .map(|directory| Scope::Below(directory))
        .collect();
    let mut targets = Vec::new();
    for (directory, scope) in directories.iter().zip(&scopes) {
        let file = root.join(directory).join(FILE_NAME);
        targets.push(Target::new(&file, &root, scope)?);
    }
    let mut warnings = pinned.counted.warnings.clone();
    // Also pins of images that are pinned below none of the directories.
    warnings.extend(remaining(
        &pinned,
        others.iter(),
        &scopes.iter().collect::<Vec<_>>(),
    ));
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

/// One configuration for each name of an environment in these files.
fn run_each_file(
    mut pinned: PinnedTree,
    files: &BTreeSet<RelPath>,
    print_only: bool,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let others = pinned.discovery.split_off(|pin| files.contains(&*pin.file));
    let remote = GitRemote::read(&pinned.root);
    let selection = Selection::choose(&pinned.discovery, &remote, cx)?;
    let chosen = selection.in_discovery(&pinned.discovery);
    let mut by_name = FilesByName::new();
    for pin in chosen.repositories().flat_map(|one| &one.pins) {
        let name = discover::of_file_name(pin.file.as_path());
        by_name.entry(name).or_default().insert(&*pin.file);
    }
    let counted_files: BTreeSet<_> = files.iter().map(RelPath::as_path).collect();
    refuse_counted(&pinned, &chosen, &counted_files)?;
    let environments = by_file_name(by_name);
    let mut targets = Vec::new();
    for environment in &environments {
        let file = pinned.root.join(&environment.file);
        targets.push(Target::new(&file, &pinned.root, &environment.scope)?);
    }
    let scopes: Vec<_> = environments
        .iter()
        .map(|environment| &environment.scope)
        .collect();
    let mut warnings = pinned.counted.warnings.clone();
    warnings.extend(remaining(&pinned, others.iter(), &scopes));
    let proposal = Proposal {
        targets,
        warnings,
        notes: Vec::new(),
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

/// The files with pins that the globs match; none if a glob matches a directory.
fn matching_files(
    globs: &[String],
    directories: &[&Path],
    pinned: &PinnedTree,
) -> Result<BTreeSet<RelPath>, Errors> {
    let mut files = BTreeSet::new();
    for text in globs {
        let Ok(glob) = Glob::parse(text) else {
            return Ok(BTreeSet::new());
        };
        if directories.iter().any(|directory| glob.matches(directory)) {
            return Ok(BTreeSet::new());
        }
        let pins = pinned
            .discovery
            .repositories
            .iter()
            .flat_map(|one| &one.pins);
        for pin in pins.filter(|pin| glob.matches(pin.file.as_path())) {
            if discover::of_file_name(pin.file.as_path()).is_none() {
                return Err(usage(format!(
                    "`--each {text}` matches {}, whose name contains no environment such as `staging` or `prod`",
                    pin.file
                )));
            }
            files.insert((*pin.file).clone());
        }
    }
    Ok(files)
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
            return Err(usage(format!(
                "`--each {text}` matches no directory, and no file with pins"
            )));
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
        let help =
            format!("remove {configuration}, exclude these paths in its `files`, or select others");
        errors.push(Error::input(Code::INIT, message).help(help));
    }
    Err(Errors::from(errors))
}
