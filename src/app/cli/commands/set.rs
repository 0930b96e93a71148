//! `repin set`: verifies the images of a revision once, and writes the evidence to a file.
//!
//! `--all`: the sets of every configuration file below the current directory, as one table or document.

use std::path::PathBuf;

use clap::Args;

use crate::{
    app::{
        cli::{args::revisions, context::Context, format::Format, output::Exit},
        report::{
            json::{AnyDocument, ErrorDocument, SetEntry, SetsDocument},
            sets::{self, SetSummary},
        },
        workflow::{SetVerdict, output_file::OutputFile, verified_set},
    },
    base::{
        error::{Error, Errors, usage},
        files::RelPath,
        text::counted,
        untrusted::plain,
    },
    config::{self, Config, SetPath},
    core::checks::{Check, Status},
    git,
    oci::Digest,
};

const HELP: &str = "\
Runs the checks of a promotion that concern only images: tags, labels, signatures, contracts, smoke command. Pins and history \
belong to a repository and are not checked. Each run writes the same bytes to FILE; their SHA-256, which is printed, identifies \
the whole set.

Example:
  repin set --revision 4f2a… --out set.json";

/// Verify the images of a revision, and write the evidence to a file
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Commit that the images were built from
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
    revision: String,
    /// Write the verified set to FILE; - is standard output, and the hash is then a note
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let directory = cx.services.environment.directory();
    let out = OutputFile::new(&args.out, directory, Some(&config))?;
    if out.is_stdout() && cx.output.format != Format::Human {
        return Err(usage(
            "standard output cannot contain the set in addition to a report: with --format, name a file instead of `-`",
        ));
    }
    // An unwritable file stops the run before the first request.
    let mut step = cx.step_files()?;
    let document = match verified_set(&config, &args.revision, &cx.services)? {
        SetVerdict::Verified(document) => document,
        SetVerdict::Refused { checks, errors } => {
            let exit = report_refusal(&checks, errors, &config, cx);
            cx.output.note("the set was refused; no file was written");
            return Ok(exit);
        }
    };
    let bytes = document.bytes();
    let bytes = bytes.map_err(|error| Errors::io(format!("cannot write the set: {error}")))?;
    out.write(&bytes)?;
    let sha256 = Digest::of(&bytes).hex();
    cx.output.print_causes(&document.checks, &config);
    match cx.output.format {
        Format::Json => cx.output.print_json(&*document),
        _ if out.is_stdout() => cx.output.print(&bytes),
        _ => cx.output.print(format!("{sha256}\n")),
    }
    if let Some(step) = &mut step {
        step.outputs(&[
            ("revision", document.revision.clone()),
            ("set-sha256", sha256.clone()),
        ])?;
    }
    let written = if out.is_stdout() {
        format!("its SHA-256 is {sha256}")
    } else {
        format!("wrote {}", plain(&args.out.display().to_string()))
    };
    cx.output.note(&format!(
        "verified {} at {}; {written}",
        counted(document.images.len(), "image"),
        plain(&document.revision),
    ));
    Ok(Exit::Done)
}

/// Reports the reasons for the refusal of a set.
pub(super) fn report_refusal(
    checks: &[Check],
    errors: Vec<Error>,
    config: &Config,
    cx: &mut Context,
) -> Exit {
    let mut reasons = Vec::new();
    for check in checks {
        if check.status == Status::Fail {
            reasons.push(check.as_error());
        }
    }
    reasons.extend(errors.iter().cloned());
    let reasons = Errors::from(reasons);
    if cx.output.format == Format::Human {
        cx.output.print_causes(checks, config);
        if !errors.is_empty() {
            cx.output.report_errors(&Errors::from(errors));
        }
    } else {
        cx.output.report_errors(&reasons);
    }
    cx.output.print_explain_hint();
    Exit::from(&reasons)
}

/// A configuration file.
pub(super) struct SelectedSet {
    /// The set path; without git, the path from the current directory.
    path: SetPath,
    config: Result<Selected, Errors>,
}

enum Selected {
    Set(Box<Config>),
    Fleet,
    WithoutImages,
    /// A sparse checkout does not contain the file.
    Sparse,
}

impl SelectedSet {
    fn config(&self) -> Option<&Config> {
        match &self.config {
            Ok(Selected::Set(config)) => Some(config),
            Ok(Selected::Fleet | Selected::WithoutImages | Selected::Sparse) | Err(_) => None,
        }
    }
}

/// Reads every configuration below the current directory. Their repository is read once for all of them.
pub(super) fn select(cx: &Context) -> Result<Vec<SelectedSet>, Errors> {
    let directory = cx.services.environment.directory();
    let has_set_paths = git::is_in_repository(directory);
    let mut selected = Vec::new();
    let listing = cx.configuration_files()?;
    let path_of = |file: &RelPath| match config::set_path(&directory.join(file.as_path())) {
        Ok(path) if has_set_paths => path,
        _ => SetPath::from(file.clone()),
    };
    for file in &listing.files {
        let location = directory.join(file.as_path());
        let config = match config::load(&location, &file.to_string()) {
            Ok(mut config) if config.counts_pins().is_ok() => {
                let file = file.to_string();
                if file != config::FILE_NAME {
                    config.option = config::option(&file);
                }
                Ok(Selected::Set(Box::new(config)))
            }
            Ok(config) if config.has_images().is_err() => Ok(Selected::WithoutImages),
            Ok(_) => Ok(Selected::Fleet),
            Err(errors) => Err(Errors::from(errors)),
        };
        let path = path_of(file);
        selected.push(SelectedSet { path, config });
    }
    for file in &listing.sparse {
        selected.push(SelectedSet {
            path: path_of(file),
            config: Ok(Selected::Sparse),
        });
    }
    selected.sort_by(|a, b| a.path.cmp(&b.path));
    let sets = selected.iter().filter_map(SelectedSet::config);
    cx.services.share_repository(&sets.collect::<Vec<_>>());
    Ok(selected)
}

/// The results of a command for multiple sets.
#[derive(Default)]
pub(super) struct SetResults {
    pub(super) rows: Vec<SetSummary>,
    entries: Vec<SetEntry>,
    /// The errors that stopped the work on a set.
    pub(super) errors: Vec<Error>,
    /// The checks that concern no single set.
    pub(super) checks: Vec<Check>,
    exit: Option<Exit>,
}

impl SetResults {
    /// The configuration of a set, unless it is skipped or cannot be read.
    pub(super) fn start(
        &mut self,
        set: SelectedSet,
        cx: &mut Context,
    ) -> Option<(SetPath, Config)> {
        cx.output.start_section(&set.path);
        match set.config {
            Ok(Selected::Set(config)) => return Some((set.path, *config)),
            Ok(Selected::Fleet) => self.skip(set.path, "skipped: it describes a fleet"),
            Ok(Selected::WithoutImages) => self.skip(set.path, "skipped: it has no images"),
            Ok(Selected::Sparse) => {
                let path = plain(&set.path.to_string());
                cx.output.warn(&format!(
                    "{path} was not read: a sparse checkout leaves it out"
                ));
                self.skip(set.path, "skipped: a sparse checkout leaves it out");
            }
            Err(errors) => self.fail(set.path, errors, cx),
        }
        None
    }

    pub(super) fn add(&mut self, row: SetSummary, document: AnyDocument, exit: Exit) {
        self.add_document(row.set_path.clone(), document, exit);
        self.rows.push(row);
    }

    /// Adds a set without a row in the table.
    pub(super) fn add_document(&mut self, set_path: SetPath, document: AnyDocument, exit: Exit) {
        self.worsen(exit);
        self.entries.push(SetEntry {
            set_path,
            document: Some(document),
        });
    }

    /// The documents of the sets so far.
    pub(super) fn documents(&self) -> impl Iterator<Item = &AnyDocument> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| entry.document.as_ref())
    }

    fn skip(&mut self, path: SetPath, state: &str) {
        self.entries.push(SetEntry {
            set_path: path.clone(),
            document: None,
        });
        self.rows
            .push(SetSummary::without_set(path, state.to_owned()));
    }

    /// Reports the errors of a set that cannot start.
    pub(super) fn fail(&mut self, path: SetPath, errors: Errors, cx: &mut Context) {
        self.worsen(Exit::from(&errors));
        if matches!(cx.output.format, Format::Human | Format::Github) {
            cx.output.report_errors(&errors);
        }
        self.entries.push(SetEntry {
            set_path: path.clone(),
            document: Some(AnyDocument::Error(ErrorDocument::new(&errors))),
        });
        let mut codes = Vec::new();
        for error in &errors {
            if !codes.contains(&error.code.as_str()) {
                codes.push(error.code.as_str());
            }
        }
        let state = format!("error: {}", codes.join(", "));
        self.rows.push(SetSummary::without_set(path, state));
        self.errors.extend(errors);
    }

    fn worsen(&mut self, exit: Exit) {
        self.exit = Some(self.exit().worse(exit));
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit.unwrap_or(Exit::Done)
    }

    /// Prints the document, or a table with a row for each set.
    pub(super) fn print(self, cx: &mut Context) -> Exit {
        let table = sets::table(&self.rows, &(cx.services.environment.zone)());
        self.print_table(table, cx)
    }

    /// Prints the document or `table`.
    pub(super) fn print_table(self, table: String, cx: &mut Context) -> Exit {
        let exit = self.exit();
        if cx.output.format == Format::Json {
            cx.output.print_json(&SetsDocument {
                schema: "repin.sets/1",
                sets: self.entries,
                checks: self.checks,
            });
        } else {
            cx.output.print(table);
        }
        exit
    }
}
