//! `repin diff`: compares two sets, by their commits and their images.

use std::collections::BTreeSet;

use clap::Args;

use crate::{
    app::{
        cli::{
            args::{images, revisions},
            context::Context,
            format::Format,
            job::StepFiles,
            output::Exit,
        },
        report::{
            changes::{markdown, terminal},
            json::DiffDocument,
        },
        workflow::{
            self, SiteHistory,
            changes::{ComparedSet, Comparison, SetImage, compare},
            check_image_name, site,
            trust::Trust,
        },
    },
    base::{
        error::{Class, Code, Error, Errors},
        files::WorkTree,
        untrusted::plain,
    },
    config::{ChangeParts, Config, Image},
    core::{
        changes::{KnownBy, SetState},
        checks::Target,
        history::{History, HistoryEntry},
        outside::TrackedTree,
        pins::{self, FoundPins},
    },
    git::{FETCH_HISTORY, MIN_PREFIX},
};

const HELP: &str = "\
A SET is a revision, a commit that records a set, `current`: the pinned set, or `newest`: the build that `promote --revision \
newest` selects. A revision that history records selects the \
digests that were pinned then; any other revision selects its tags. Without options, the two newest sets in history are \
compared. The exit code is 0 whether or not the sets differ; parts that cannot be read are listed.

Examples:
  repin diff                                # the latest promotion or rollback
  repin diff --revision 4f2a…               # the changes that a promotion would bring
  repin diff --from 4f2a… --to current app  # one image
  repin diff --format json | jq '.source.added.commits[].subject'";

/// Compare two sets: commits and images
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Compare the current set with the images of this revision
    #[arg(
        short,
        long,
        value_name = "REV",
        allow_hyphen_values = true,
        conflicts_with_all = ["from", "to"],
        add = revisions()
    )]
    revision: Option<String>,
    /// The old set
    #[arg(long, value_name = "SET", requires = "to", allow_hyphen_values = true, add = revisions())]
    from: Option<String>,
    /// The new set
    #[arg(long, value_name = "SET", requires = "from", allow_hyphen_values = true, add = revisions())]
    to: Option<String>,
    /// Compare the contents of the images too: packages, privileged files and inventory names
    #[arg(long)]
    contents: bool,
    /// Images to compare [default: all]
    #[arg(value_name = "IMAGE", add = images())]
    images: Vec<String>,
}

/// The word for the pinned set.
const CURRENT: &str = "current";
/// The word for the newest build.
const NEWEST: &str = "newest";
/// The width without a terminal.
const COLUMNS: usize = 80;

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    for name in &args.images {
        let help = "arguments are images; sets are written as `--from SET --to SET`";
        check_image_name(&config, name, "").map_err(|error| error.help(help))?;
        if config.image(name).is_some_and(|image| image.pins == 0) {
            let message = format!("`{name}` has `pins: 0`: it belongs to no set");
            let help = "compare the images with pins, or declare the pins of this image";
            return Err(Error::input(Code::USAGE, message).help(help).into());
        }
    }
    let site_history = SiteHistory::for_work_tree(&config, &cx.services);
    let sets = Sets {
        config: &config,
        history: site_history.known()?,
        selected: &args.images,
    };
    sets.warn(cx);
    let (from, to) = sets.select(args, cx)?;
    let trust = if args.contents {
        Trust::read(&config, &WorkTree::new(&config.root))?
    } else {
        None
    };
    let comparison = Comparison {
        from,
        to,
        images: &args.images,
        parts: if args.contents {
            ChangeParts::Contents
        } else {
            ChangeParts::Images
        },
        is_rollback: false,
        proven_sources: Vec::new(),
        git: site_history.git(),
        trust: trust.as_ref(),
        contents: Vec::new(),
        only_read_contents: false,
    };
    let changes = compare(comparison, &config, &cx.services)?;
    match cx.output.format {
        Format::Json => cx.output.print_json(&DiffDocument {
            schema: "repin.diff/1",
            set_path: config.set_path.clone(),
            changes,
        }),
        format @ (Format::Human | Format::Github | Format::Sarif | Format::Gitlab) => {
            let columns = cx.output.columns.unwrap_or(COLUMNS);
            cx.output.print(terminal::text(&changes, columns));
            if format == Format::Github {
                let summary = markdown::section(&changes);
                StepFiles::open(&cx.services.environment)?.summary(&summary)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// The same errors; those of a malformed revision list the other forms of a set.
fn with_help_for_sets(errors: Errors) -> Errors {
    let mut errors: Vec<Error> = errors.into_iter().collect();
    for error in &mut errors {
        if error.code == Code::REVISION_SHAPE {
            let help = error.remedy();
            error.help = Some(format!(
                "{help}; a SET is also `{CURRENT}`, `{NEWEST}`, or a commit that records a set"
            ));
        }
    }
    errors.into()
}

/// The sets that can be compared.
struct Sets<'s> {
    config: &'s Config,
    /// `None` without a repository.
    history: Option<&'s History>,
    /// The names of the compared images; all if empty.
    selected: &'s [String],
}

impl Sets<'_> {
    /// Warns if history may record other sets than those that are found.
    fn warn(&self, cx: &mut Context) {
        let Some(history) = self.history else {
            return;
        };
        for unreadable in &history.unreadable {
            let (commit, reason) = (unreadable.commit.short(), plain(&unreadable.reason()));
            cx.output
                .warn(&format!("the set of commit {commit} is unknown: {reason}"));
        }
        if history.shallow {
            cx.output.warn(&format!(
                "this clone is shallow: older sets are missing; {FETCH_HISTORY}"
            ));
        }
    }

    fn select(&self, args: &Arguments, cx: &Context) -> Result<(ComparedSet, ComparedSet), Errors> {
        if let Some(revision) = &args.revision {
            return Ok((self.current()?, self.set(revision, cx)?));
        }
        if let (Some(from), Some(to)) = (&args.from, &args.to) {
            let set = |text| self.set(text, cx).map_err(with_help_for_sets);
            return Ok((set(from)?, set(to)?));
        }
        let entries = self.history.map_or(&[][..], History::entries);
        match (self.history, entries) {
            (Some(history), [newest, previous, ..]) => Ok((
                ComparedSet::recorded(self.config, previous, history),
                ComparedSet::recorded(self.config, newest, history),
            )),
            _ => Err(self.too_few_sets(entries.len())),
        }
    }

    fn too_few_sets(&self, count: usize) -> Errors {
        let found = match (self.history, count) {
            (None, _) => "history is unavailable".to_owned(),
            (_, 0) => "history records no set".to_owned(),
            _ => "history records only one set".to_owned(),
        };
        let help = "select a build with --revision REV, or two sets with --from SET and --to SET";
        Error::input(Code::USAGE, format!("no two sets to compare: {found}"))
            .help(help)
            .into()
    }

    fn current(&self) -> Result<ComparedSet, Errors> {
        let found: FoundPins = pins::find(TrackedTree::open(self.config).files(), self.config)?;
        site::check_places(self.config, &found)?;
        Ok(ComparedSet::current(self.config, &found, self.history))
    }

    /// The set that an argument selects.
    fn set(&self, text: &str, cx: &Context) -> Result<ComparedSet, Errors> {
        if text == CURRENT {
            return self.current();
        }
        if text == NEWEST {
            if let Some(revision) = workflow::newest_revision(self.config, &cx.services)? {
                return self.set(&revision, cx);
            }
            cx.output.note("nothing newer than the current set");
            return self.current();
        }
        if let Some(recorded) = self.recorded(text)? {
            return Ok(recorded);
        }
        let (revision, tag) = workflow::revision(self.config, text, &cx.services)?;
        if let Some(recorded) = self.recorded(revision.as_str())? {
            return Ok(recorded);
        }
        let mut config = self.config.clone();
        config.images.retain(|image| self.is_compared(image));
        let targets = vec![Target::new(tag); config.images.len()];
        let resolutions = workflow::resolve_tags(&config, targets, 0, &cx.services)?;
        let mut resolved = workflow::resolved_images(&config, &resolutions)?.into_iter();
        let mut images = Vec::new();
        for image in &self.config.images {
            let found = if self.is_compared(image) {
                resolved.next()
            } else {
                None
            };
            images.push(found.map_or(SetImage::Absent, |found| {
                SetImage::Pinned(found.facts.digest)
            }));
        }
        let state = SetState {
            revision: Some(revision.to_string()),
            known_by: Some(KnownBy::Argument),
            commit: None,
        };
        Ok(ComparedSet { state, images })
    }

    /// An image without pins belongs to no set.
    fn is_compared(&self, image: &Image) -> bool {
        image.pins > 0 && (self.selected.is_empty() || self.selected.contains(&image.name))
    }

    /// The newest set in history with this revision, or the one of this commit. Both may be abbreviated.
    fn recorded(&self, text: &str) -> Result<Option<ComparedSet>, Errors> {
        let Some(history) = self.history else {
            return Ok(None);
        };
        let entries = history.all_entries();
        let revision = |entry: &HistoryEntry| entry.revision.as_ref().map(ToString::to_string);
        let mut found = entries
            .iter()
            .find(|entry| revision(entry).as_deref() == Some(text));
        if found.is_none() {
            found = entries
                .iter()
                .find(|entry| entry.commit.to_string() == text);
        }
        if found.is_none() && text.len() >= MIN_PREFIX {
            let mut names = BTreeSet::new();
            for entry in entries.iter().rev() {
                let commit = Some(entry.commit.to_string());
                for name in [revision(entry), commit].into_iter().flatten() {
                    if name.starts_with(text) {
                        names.insert(name);
                        found = Some(entry);
                    }
                }
            }
            if names.len() > 1 {
                let message =
                    format!("`{text}` is ambiguous: several sets in history begin with it");
                let mut error =
                    Error::input(Code::REVISION_SHAPE, message).help("write more of it");
                error.notes = names.into_iter().collect();
                return Err(error.into());
            }
        }
        match found {
            None => Ok(None),
            Some(entry) => match &entry.unreadable {
                None => Ok(Some(ComparedSet::recorded(self.config, entry, history))),
                Some(reason) => {
                    let message = format!(
                        "the set of commit {} is unknown: {reason}",
                        entry.commit.short()
                    );
                    Err(Error::new(Class::Unavailable, Code::UNAVAILABLE, message).into())
                }
            },
        }
    }
}
