//! `repin init`: writes a first configuration from the existing pins.
//!
//! The set is chosen from the pinned repositories, with a prompt on a terminal if the choice is uncertain. The
//! scanner checks the text before it is written. An existing file is replaced only with `--force`;
//! `--update` changes only its counts.

mod draft;
mod question;
mod signers;
mod update;

use std::path::Path;

use draft::Draft;

use crate::{
    cli::{
        args,
        context::Context,
        exit::Exit,
        format::Format,
        write_file::{self, TargetFile},
    },
    code::Code,
    config::{SetPath, Trailer},
    error::{Error, Errors},
    files::survey,
    git::{self, Git, HostedRepository},
    pins::discover::{
        Discovery, PinnedRepository, discover,
        groups::{self, Guess, Reason},
    },
    report::{
        json::InitDocument,
        layout::{Align, aligned},
    },
    untrusted::{plain, shell},
};

/// The git remote; each value may be unknown.
#[derive(Default)]
struct GitRemote {
    hosted: Option<HostedRepository>,
    /// The default branch.
    base: Option<String>,
}

/// The set, and the other pinned repositories.
struct Chosen<'s> {
    members: Vec<&'s PinnedRepository>,
    others: Vec<(&'s PinnedRepository, Reason)>,
    /// A remark for the user to review, if the choice was uncertain.
    remark: Option<String>,
}

pub(in crate::cli) fn run(args: &args::Init, cx: &mut Context) -> Result<Exit, Errors> {
    let print_only = args.dry_run == Some(true) || cx.is_dry_run_forced()?;
    if args.update {
        return update::run(print_only, cx);
    }
    let target = TargetFile::new(&cx.new_config(), cx.services.environment.directory())?;
    if !(print_only || args.force) {
        target.refuse_existing()?;
    }
    let root = target.directory();
    let tree = git::work_tree_at(root);
    let discovery = discover(&tree, survey(root), Some(target.name()));
    let remote = GitRemote::read(root);
    let owner = remote.hosted.as_ref().map(|hosted| hosted.owner.as_str());
    let guess = groups::guess(&discovery.repositories, owner);
    let chosen = choose(&discovery, &guess, cx)?;
    cx.services.shorten_waits();
    let services = &cx.services;
    let mut draft = Draft::new(&tree, &discovery, &chosen, &remote, target.name(), services)?;
    draft.warnings.extend(target.shadowing_warning());
    if !print_only {
        let name = plain(target.display_name());
        let step = cx
            .services
            .interruption
            .step(format!("{name} may have been written"));
        write_file::write(&target, &draft.text, args.force)?;
        step.done(format!("{name} was written"));
    }
    report(draft, &target, !print_only, cx);
    Ok(Exit::Done)
}

impl GitRemote {
    fn read(root: &Path) -> Self {
        let Ok(git) = Git::open(root) else {
            return Self::default();
        };
        let mut remote = Self::default();
        if let Ok(Some(url)) = git.origin() {
            remote.hosted = HostedRepository::parse(&url);
        }
        if let Ok(Some(branch)) = git.known_default() {
            remote.base = branch.name.strip_prefix("origin/").map(str::to_owned);
        }
        remote
    }
}

fn choose<'s>(discovery: &'s Discovery, guess: &Guess, cx: &Context) -> Result<Chosen<'s>, Errors> {
    if guess.groups.is_empty() {
        return Err(no_pins(discovery));
    }
    let mut remark = None;
    let selected = if guess.sure {
        vec![0]
    } else if cx.services.environment.can_prompt() && cx.output.format == Format::Human {
        question::ask(&guess.groups, &discovery.repositories, &cx.output)?
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
    let (mut members, mut others) = (Vec::new(), Vec::new());
    for (index, group) in guess.groups.iter().enumerate() {
        for member in &group.members {
            let pinned = &discovery.repositories[*member];
            if selected.contains(&index) {
                members.push(pinned);
            } else {
                others.push((pinned, Reason::OtherOwner));
            }
        }
    }
    for (index, reason) in &guess.apart {
        others.push((&discovery.repositories[*index], *reason));
    }
    members.sort_by_cached_key(|pinned| pinned.repository.canonical());
    others.sort_by_cached_key(|(pinned, _)| pinned.repository.canonical());
    Ok(Chosen {
        members,
        others,
        remark,
    })
}

/// The error if no image is pinned.
fn no_pins(discovery: &Discovery) -> Errors {
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

/// The next step for the user. The commit message contains the revision of the pinned set, so that the first
/// promotion can be rolled back.
fn next_step(path: &str, set: &SetPath, revision: Option<&str>) -> String {
    let quoted = shell(path);
    let (revision, remark) = match revision {
        Some(revision) => (plain(revision), ""),
        None => (
            "REVISION".to_owned(),
            "\nREVISION is the commit that the pinned images were built from: `repin check --remote` shows it.",
        ),
    };
    let trailer = shell(&Trailer::line(&revision, set));
    format!(
        "next: review the file and run `repin check`, then commit it with the currently pinned set, so that the first\n\
         promotion can be rolled back:\n\n    git add -- {quoted}\n    \
         git commit -m 'adopt repin' -m {trailer} -- {quoted}\n{remark}"
    )
}

fn report(draft: Draft, target: &TargetFile, written: bool, cx: &mut Context) {
    let path = target.display_name().to_owned();
    for warning in &draft.warnings {
        cx.output
            .write_stderr(&format!("warning: {}\n", plain(warning)));
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
        cx.output.print_json(&InitDocument {
            schema: "repin.init/1",
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
    for image in &draft.images {
        rows.push(vec![
            image.name.clone(),
            image.repository.clone(),
            image.pins.to_string(),
        ]);
    }
    let table = aligned(&[Align::Left, Align::Left, Align::Right], &rows);
    cx.output.print(format!(
        "wrote {}: {}\n\n{table}",
        plain(&path),
        draft.summary()
    ));
    cx.output.note(&next_step(
        &path,
        &draft.set_path,
        draft.revision.as_deref(),
    ));
}
