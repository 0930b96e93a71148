//! `repin init`: write a first configuration from the existing pins.
//!
//! Scans, chooses a set, asks at a terminal, verifies its own text with the real scanner, and writes
//! it; an existing file is never overwritten without `--force`, and counted again with `--update`.

mod ask;
mod draft;
mod signers;
mod split;
mod update;

use draft::Draft;

use crate::{
    cli::{
        args,
        context::Context,
        exit::Exit,
        format::Format,
        write::{self, Target},
    },
    code::Code,
    error::{Error, Errors},
    files::survey,
    git::{self, Git, HostedRepository},
    pins::discover::{
        Discovery, PinnedRepository, discover,
        groups::{self, Guess, Reason},
    },
    report::{
        json::InitDocument,
        table::{Align, aligned},
    },
    untrusted::{plain, shell},
};

/// Facts from git about the repository around the root; each may be missing.
#[derive(Default)]
struct Surroundings {
    hosted: Option<HostedRepository>,
    base: Option<String>,
}

/// The set, and the images left out.
struct Chosen<'s> {
    members: Vec<&'s PinnedRepository>,
    others: Vec<(&'s PinnedRepository, Reason)>,
    /// Remarks for a person to review, because no question was asked.
    remark: Option<String>,
}

pub(in crate::cli) fn run(args: &args::Init, cx: &mut Context) -> Result<Exit, Errors> {
    let print_only = args.dry_run == Some(true) || cx.dry_run_forced()?;
    if args.update {
        return update::run(print_only, cx);
    }
    let target = Target::new(&cx.new_config(), cx.services.environment.directory())?;
    if !(print_only || args.force) {
        target.refuse_existing()?;
    }
    let tree = git::work_tree_at(target.root());
    let discovery = discover(&tree, survey(target.root()), target.name());
    let surroundings = Surroundings::of(target.root());
    let owner = surroundings
        .hosted
        .as_ref()
        .map(|hosted| hosted.owner.as_str());
    let guess = groups::guess(&discovery.repositories, owner);
    let chosen = choose(&discovery, &guess, cx)?;
    cx.services.shorten_waits();
    let services = &cx.services;
    let mut draft = Draft::new(
        &tree,
        &discovery,
        &chosen,
        &surroundings,
        target.name(),
        services,
    )?;
    draft.warnings.extend(target.hidden());
    if !print_only {
        let written = format!("{} was written", plain(target.shown()));
        let step = cx
            .services
            .interruption
            .step(format!("{} may have been written", plain(target.shown())));
        write::put(&target, &draft.text, args.force)?;
        step.done(written);
    }
    report(draft, &target, !print_only, cx);
    Ok(Exit::Done)
}

impl Surroundings {
    /// Queries git; every failure leaves the fact unknown.
    fn of(root: &std::path::Path) -> Self {
        let Ok(git) = Git::open(root) else {
            return Self::default();
        };
        let hosted = git
            .origin()
            .ok()
            .flatten()
            .and_then(|url| HostedRepository::parse(&url));
        let base = git
            .known_default()
            .ok()
            .flatten()
            .and_then(|branch| branch.name.strip_prefix("origin/").map(str::to_owned));
        Self { hosted, base }
    }
}

fn choose<'s>(discovery: &'s Discovery, guess: &Guess, cx: &Context) -> Result<Chosen<'s>, Errors> {
    if guess.groups.is_empty() {
        return Err(nothing(discovery));
    }
    let mut remark = None;
    let taken = if guess.sure {
        vec![0]
    } else if cx.services.environment.can_prompt() && cx.output.format == Format::Human {
        ask::which(&guess.groups, &discovery.repositories, &cx.output)?
    } else {
        let first = &guess.groups[0].owner;
        let others: Vec<_> = guess.groups[1..]
            .iter()
            .take(5)
            .map(|group| group.owner.as_str())
            .collect();
        remark = Some(match others.as_slice() {
            [] => format!(
                "using {first} as the image set, although the remote has another owner; review `images:` before committing"
            ),
            others => format!(
                "using {first} as the image set; {} was left out; review `images:` before committing",
                others.join(" or ")
            ),
        });
        vec![0]
    };
    let seen = |at: &usize| &discovery.repositories[*at];
    let mut members: Vec<_> = taken
        .iter()
        .flat_map(|&group| &guess.groups[group].members)
        .map(seen)
        .collect();
    members.sort_by_cached_key(|seen| seen.repository.canonical());
    let rest = guess
        .groups
        .iter()
        .enumerate()
        .filter(|(at, _)| !taken.contains(at));
    let foreign = rest
        .flat_map(|(_, group)| &group.members)
        .map(|at| (seen(at), Reason::OtherOwner));
    let mut others: Vec<_> = foreign
        .chain(guess.apart.iter().map(|(at, reason)| (seen(at), *reason)))
        .collect();
    others.sort_by_cached_key(|(seen, _)| seen.repository.canonical());
    Ok(Chosen {
        members,
        others,
        remark,
    })
}

/// The error of a repository without pins.
fn nothing(discovery: &Discovery) -> Errors {
    if let Some(error) = discovery.unread.first() {
        return Errors::io(error.to_string());
    }
    let message = format!(
        "no image is pinned by digest in the {} files scanned",
        discovery.files
    );
    let hint = "pin the images as REPOSITORY@sha256:DIGEST where they are used, or write the configuration by hand \
                (`repin schema` describes it)";
    Errors::from(Error::input(Code::INIT, message).help(hint))
}

/// What to do with a written file. The commit names the pinned set, so that the first promote can be
/// rolled back.
fn next(path: &str, revision: Option<&str>) -> String {
    let quoted = shell(path);
    let (revision, remark) = match revision {
        Some(revision) => (plain(revision), ""),
        None => (
            "REVISION".to_owned(),
            "\nREVISION is the commit that the pinned images were built from: `repin check --remote` shows it.",
        ),
    };
    format!(
        "next: review the file and run `repin check`, then commit it with the set that is pinned now, so that the first\n\
         promote can be rolled back:\n\n    git add -- {quoted}\n    \
         git commit -m 'adopt repin' -m 'Repin-Set: {revision}' -- {quoted}\n{remark}"
    )
}

fn report(draft: Draft, target: &Target, written: bool, cx: &mut Context) {
    let path = target.shown().to_owned();
    for warning in &draft.warnings {
        cx.output
            .error_text(&format!("warning: {}\n", plain(warning)));
    }
    if cx.output.format == Format::Json {
        let Draft {
            text: content,
            images,
            files,
            others,
            warnings,
            ..
        } = draft;
        let schema = "repin.init/1";
        cx.output.json(&InitDocument {
            schema,
            path,
            written,
            images,
            files,
            others,
            warnings,
            content,
            diff: None,
        });
        return;
    }
    if !written {
        cx.output.print(&draft.text);
        cx.output
            .note(&format!("dry run: {} was not written", plain(&path)));
        return;
    }
    let mut rows = vec![["IMAGE", "REPOSITORY", "PINS"].map(str::to_owned).to_vec()];
    rows.extend(draft.images.iter().map(|row| {
        vec![
            row.name.clone(),
            row.repository.clone(),
            row.pins.to_string(),
        ]
    }));
    let table = aligned(&[Align::Left, Align::Left, Align::Right], &rows);
    cx.output.print(format!(
        "wrote {}: {}\n\n{table}",
        plain(&path),
        draft.summary()
    ));
    cx.output.note(&next(&path, draft.revision.as_deref()));
}
