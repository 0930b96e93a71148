//! `--all`: the sets of every configuration file below the current directory, as one table or document.

use crate::{
    app::{
        cli::{context::Context, exit::Exit, format::Format},
        report::{
            json::{AnyDocument, ErrorDocument, SetEntry, SetsDocument},
            sets::{self, SetSummary},
        },
    },
    base::{
        error::{Error, Errors},
        files::RelPath,
        untrusted::plain,
    },
    config::{self, Config, SetPath},
    core::checks::Check,
    git,
};

/// A configuration file.
pub(super) struct SelectedSet {
    /// The set path; without git, the path from the current directory.
    path: SetPath,
    config: Result<Selected, Errors>,
}

enum Selected {
    Set(Box<Config>),
    Fleet,
    /// A sparse checkout does not contain the file.
    Sparse,
}

impl SelectedSet {
    fn config(&self) -> Option<&Config> {
        match &self.config {
            Ok(Selected::Set(config)) => Some(config),
            Ok(Selected::Fleet | Selected::Sparse) | Err(_) => None,
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
        let table = sets::table(&self.rows);
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
