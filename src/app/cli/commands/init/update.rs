//! `repin init --update`: updates the counts of an existing configuration, and adds the files with
//! pins that no glob matches.

use std::{collections::BTreeSet, path::Path};

use super::{
    draft::{self, DISAGREEMENT, outside_problems},
    next_step,
};
use crate::{
    app::{
        cli::{
            context::Context,
            format::Format,
            output::Exit,
            write_file::{self, TargetFile},
        },
        report::{
            diff,
            json::{InitDocument, InitImage},
            starter::quoted,
        },
    },
    base::{
        error::{Class, Code, Error, Errors, SourceText},
        files::is_reserved,
        text::{counted, few},
        untrusted::plain,
    },
    config::{self, Config, OutsidePolicy},
    core::{
        checks,
        outside::{Scope, TrackedTree},
        pins::{
            self, Finder, FoundPins, OccurrenceKind,
            discover::{environment, narrow},
        },
    },
};

/// The maximum number of directories in a message.
const LISTED: usize = 10;

/// An existing configuration and its proposed text.
struct Update {
    old: Config,
    /// The proposed text, parsed.
    new: Config,
    /// The pins of the proposed configuration.
    found: FoundPins,
    /// The new globs of `files`.
    globs: Vec<String>,
    /// The number of images with another count.
    counts: usize,
    /// The problems of digests outside of the pins that remain, one line each.
    problems: Vec<String>,
}

pub(super) fn run(print_only: bool, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let update = Update::new(config)?;
    let written = update.is_change() && !print_only;
    let file = update.old.root.join(update.old.file_name());
    let target = TargetFile::new(&file, cx.services.environment.directory())?;
    if written {
        let name = plain(target.display_name());
        let step = cx
            .services
            .interruption
            .step(format!("{name} may have been written"));
        write_file::replace(
            &target,
            &update.old.source_text.text,
            &update.new.source_text.text,
        )?;
        step.done(format!("{name} was written"));
    }
    let next_step = if print_only {
        None
    } else {
        next_step::of_update(&target, &update.new, &update.found)
    };
    report(&update, written, next_step, cx);
    Ok(Exit::Done)
}

impl Update {
    fn new(old: Config) -> Result<Self, Errors> {
        let mut found = pins::find(&old.work_tree(), &old)?;
        refuse_malformed(&old, &found)?;
        let globs = missing_globs(&old, &found);
        let mut problems = Vec::new();
        let mut text = old.source_text.text.to_string();
        let mut added = Vec::new();
        if !globs.is_empty() {
            if let Some(extended) = with_globs(&old, &globs) {
                let extended_found = pins::find(&extended.work_tree(), &extended)?;
                refuse_malformed(&extended, &extended_found)?;
                problems.extend(other_environments(&found, &extended_found));
                text = extended.source_text.text.to_string();
                found = extended_found;
                added = globs;
            } else {
                let globs = globs.join(", ");
                problems.push(format!("`files` cannot be edited; add to it: {globs}"));
            }
        }
        let extended = parsed(&old, text)?;
        refuse_left_out(&extended, &found)?;
        let (text, counts) = with_current_counts(&extended, &found);
        // Without any pin, the configuration would be invalid.
        let new = parsed(&old, text)?;
        let outside = TrackedTree::open(&new).search(&new, &found, Scope::Addable);
        problems.extend(outside_problems(&new, &found, &outside));
        problems.extend(lost_digests(&old, &new, &found));
        let disagreements =
            draft::problems(&checks::check_agreement(&new, &found, checks::Status::Fail));
        if !disagreements.is_empty() {
            problems.extend(disagreements);
            problems.push(DISAGREEMENT.to_owned());
        }
        Ok(Self {
            old,
            new,
            found,
            globs: added,
            counts,
            problems,
        })
    }

    fn is_change(&self) -> bool {
        self.old.source_text.text != self.new.source_text.text
    }
}

/// Refuses malformed pins: they cannot be counted.
fn refuse_malformed(config: &Config, found: &FoundPins) -> Result<(), Errors> {
    let mut errors = Vec::new();
    for check in checks::check_pins(config, found) {
        if check.status == checks::Status::Fail && check.code != Code::PIN_COUNT {
            errors.push(Error {
                help: check.help.clone(),
                ..Error::new(Class::Failed, check.code, check.describe())
            });
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Errors::from(errors))
    }
}

/// Refuses counts that a sparse checkout makes too low, even if digests outside of the pins are ignored.
fn refuse_left_out(config: &Config, found: &FoundPins) -> Result<(), Errors> {
    let config = Config {
        outside: OutsidePolicy::Warn,
        ..config.clone()
    };
    let tree = TrackedTree::open(&config);
    let left_out = tree.left_out(&config);
    if left_out.is_empty() {
        return Ok(());
    }
    let outside = tree.search(&config, found, Scope::Tracked);
    let mut pinned = BTreeSet::new();
    for occurrence in &outside.occurrences {
        let is_pin = matches!(occurrence.item.kind, OccurrenceKind::Image(_));
        if is_pin && left_out.contains(&*occurrence.file) {
            pinned.insert(occurrence.file.to_string());
        }
    }
    let mut images = config.images.iter().enumerate();
    let message = if !pinned.is_empty() {
        let files = few(pinned.into_iter(), LISTED);
        format!("cannot count the pins in files that the sparse checkout leaves out: {files}")
    } else if images.any(|(index, image)| found.pins_of(index).count() < image.pins) {
        "cannot lower a count while the sparse checkout leaves out files that `files:` matches"
            .to_owned()
    } else {
        return Ok(());
    };
    let help = checks::inclusion_of_all(&left_out);
    Err(Error::failed(Code::PIN_COUNT, message).help(help).into())
}

/// The references without a digest of images that have fewer pins now.
fn lost_digests(old: &Config, new: &Config, found: &FoundPins) -> Vec<String> {
    let mut unpinned = checks::check_unpinned(new, found);
    unpinned.retain(|check| {
        let mut images = old.images.iter().zip(&new.images);
        images.any(|(old, new)| check.image.as_ref() == Some(&new.name) && new.pins < old.pins)
    });
    let mut problems = draft::problems(&unpinned);
    if !problems.is_empty() {
        problems.push(format!(
            "promotions leave these references behind: restore their digests, or add those of the tags with \
             `repin{} init --pin --apply`, and then run `repin{0} init --update` again",
            old.option
        ));
    }
    problems
}

/// The warning about added files below a directory with the name of another environment.
fn other_environments(old: &FoundPins, new: &FoundPins) -> Option<String> {
    let directories = |found: &FoundPins| {
        let mut directories = BTreeSet::new();
        for pin in found.pins() {
            directories.extend(environment(pin.file.as_path(), 0).map(Path::to_owned));
        }
        directories
    };
    let (old, new) = (directories(old), directories(new));
    let added: Vec<_> = new.difference(&old).collect();
    if old.is_empty() || added.is_empty() {
        return None;
    }
    let added = few(
        added.iter().map(|path| plain(&path.display().to_string())),
        LISTED,
    );
    Some(format!(
        "the added files are below {added}, which has the name of another environment. If it is one, it needs its own \
         configuration (`repin init --each DIRECTORY`)"
    ))
}

/// Globs for the files that pin an image, unless `files` matches or excludes them.
fn missing_globs(config: &Config, found: &FoundPins) -> Vec<String> {
    let tracked = TrackedTree::open(config);
    let tree = tracked.files().clone();
    let outside = tracked.search(config, found, Scope::Addable);
    let mut files = BTreeSet::new();
    for occurrence in &outside.occurrences {
        let path = occurrence.file.as_path();
        if matches!(occurrence.item.kind, OccurrenceKind::Image(_))
            && !config.scanned.matches(path)
            && !config.files.excludes(path)
            // A sparse checkout may leave the file out.
            && config.root.join(path).is_file()
            && !path.iter().any(|name| is_reserved(name.as_encoded_bytes()))
        {
            files.insert((*occurrence.file).clone());
        }
    }
    let images = config.images.iter();
    let finder = Finder::for_repositories(images.map(|image| &image.repository));
    narrow::narrow(&tree, &files, &finder)
}

/// The configuration with further globs after the last one of `files`; all other bytes are unchanged. `None`
/// if they cannot be inserted there, because the list is an alias, for example.
fn with_globs(config: &Config, globs: &[String]) -> Option<Config> {
    let text = &config.source_text.text;
    let included = config.files.included();
    let last = included
        .iter()
        .map(|glob| glob.span())
        .max_by_key(|span| span.end)?;
    let line = text[..last.start].rfind('\n').map_or(0, |end| end + 1);
    let before = &text[line..last.start];
    let mut new = text.to_string();
    if before.trim() == "-" {
        let end = text[last.end..].find('\n').map(|end| last.end + end);
        let line_feed = if text[..end.unwrap_or(text.len())].ends_with('\r') {
            "\r\n"
        } else {
            "\n"
        };
        let mut lines = String::new();
        for glob in globs {
            lines = format!("{lines}{before}{}{line_feed}", quoted(glob));
        }
        match end {
            Some(end) => new.insert_str(end + 1, &lines),
            None => new = format!("{text}{line_feed}{lines}"),
        }
    } else {
        let items: Vec<_> = globs
            .iter()
            .map(|glob| format!(", {}", quoted(glob)))
            .collect();
        new.insert_str(last.end, &items.concat());
    }
    let extended = parsed(config, new).ok()?;
    let mut expected = [config.files.texts(), globs.to_vec()].concat();
    let mut texts = extended.files.texts();
    expected.sort();
    texts.sort();
    (texts == expected).then_some(extended)
}

/// The configuration with another text.
fn parsed(config: &Config, text: String) -> Result<Config, Vec<Error>> {
    let source = SourceText {
        name: config.source_text.name.clone(),
        text: text.into(),
    };
    config::parse(&source, &config.root, &config.set_path)
}

/// The text with the current counts and the number of changed counts; all other bytes are unchanged.
fn with_current_counts(config: &Config, found: &FoundPins) -> (String, usize) {
    let mut edits = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        let count = found.pins_of(index).count();
        if count != image.pins {
            edits.push((image.pins_at, count));
        }
    }
    // Edits start at the end of the text, so that the positions of the others remain valid.
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = config.source_text.text.to_string();
    for (span, count) in &edits {
        text.replace_range(span.start..span.end, &count.to_string());
    }
    (text, edits.len())
}

fn report(update: &Update, written: bool, next_step: Option<String>, cx: &mut Context) {
    let (config, found) = (&update.new, &update.found);
    let [old, new] = [&update.old, config].map(|config| &config.source_text.text);
    let diff = diff::of_file(
        config.file_name().as_bytes(),
        old.as_bytes(),
        new.as_bytes(),
    );
    for problem in &update.problems {
        cx.output
            .write_stderr(&format!("warning: {}\n", plain(problem)));
    }
    if cx.output.format == Format::Json {
        let mut images = Vec::new();
        for (index, image) in config.images.iter().enumerate() {
            images.push(InitImage {
                name: image.name.clone(),
                repository: image.repository.clone(),
                pins: found.pins_of(index).count(),
            });
        }
        let files = config.files.included().into_iter();
        cx.output.print_json(&InitDocument {
            schema: "repin.init/1",
            path: config.source_text.name.clone(),
            written,
            images,
            files: files.map(|glob| glob.as_str().to_owned()).collect(),
            others: Vec::new(),
            warnings: update.problems.clone(),
            content: new.to_string(),
            diff: update
                .is_change()
                .then(|| String::from_utf8_lossy(&diff).into_owned()),
        });
        return;
    }
    let path = plain(&config.source_text.name);
    if !update.is_change() {
        cx.output.print(if !update.problems.is_empty() {
            let problems = counted(update.problems.len(), "warning");
            format!("{path}: no change; {problems}\n")
        } else if config.outside == OutsidePolicy::Ignore {
            format!("{path}: every count is up to date; other files were not searched (`outside: ignore`)\n")
        } else {
            format!("{path}: every count is up to date\n")
        });
        if let Some(next_step) = next_step {
            cx.output.note(&format!("\n{next_step}"));
        }
        return;
    }
    cx.output.print_diff(&diff, false);
    let [change, addition] = if written {
        ["changed", "added"]
    } else {
        ["would change", "would be added"]
    };
    let mut changes = Vec::new();
    if update.counts > 0 {
        changes.push(format!("{} {change}", counted(update.counts, "count")));
    }
    if !update.globs.is_empty() {
        let globs = counted(update.globs.len(), "glob");
        changes.push(format!("{globs} {addition} to `files`"));
    }
    let summary = changes.join(", ");
    cx.output.note(&match next_step {
        Some(next_step) => format!("\nwrote {path}: {summary}\n\n{next_step}"),
        None if written => format!(
            "\nwrote {path}: {summary}; run `repin check{}`, then commit the file",
            update.old.option
        ),
        None => format!("\ndry run: {path} was not written; {summary}"),
    });
}
