//! `--all`: the sets of every configuration file below the current directory, as one table or document.

use crate::{
    cli::{context::Context, exit::Exit, format::Format},
    config::{self, Config, SetPath},
    error::{Error, Errors},
    git,
    report::{
        json::{AnyDocument, ErrorDocument, SetEntry, SetsDocument},
        sets::{self, SetSummary},
    },
    untrusted::plain,
};

/// A configuration file, and its configuration.
pub(super) struct SelectedSet {
    /// The set path; without git, the path from the current directory.
    path: SetPath,
    config: Result<Option<Config>, Errors>,
}

/// Reads every configuration below the current directory. That of a fleet without pins is `None`.
pub(super) fn select(cx: &Context) -> Result<Vec<SelectedSet>, Errors> {
    let directory = cx.services.environment.directory();
    let has_set_paths = git::is_in_repository(directory);
    let mut selected = Vec::new();
    for file in cx.configuration_files()? {
        let location = directory.join(file.as_path());
        let loaded = config::load(&location, &file.to_string()).map_err(Errors::from);
        let path = match config::set_path(&location) {
            Ok(path) if has_set_paths => path,
            _ => SetPath::from(file),
        };
        let config =
            loaded.map(|config| Some(config).filter(|config| config.counts_pins().is_ok()));
        selected.push(SelectedSet { path, config });
    }
    Ok(selected)
}

/// The results of a command for several sets.
#[derive(Default)]
pub(super) struct SetResults {
    pub(super) rows: Vec<SetSummary>,
    entries: Vec<SetEntry>,
    /// The errors that stopped the work on a set.
    pub(super) errors: Vec<Error>,
    exit: Option<Exit>,
}

impl SetResults {
    /// The configuration of a set, unless it is skipped or cannot be read.
    pub(super) fn start(
        &mut self,
        set: SelectedSet,
        cx: &mut Context,
    ) -> Option<(SetPath, Config)> {
        match set.config {
            Ok(Some(config)) => return Some((set.path, config)),
            Ok(None) => self.skip(set.path),
            Err(errors) => self.fail(set.path, errors, cx),
        }
        None
    }

    pub(super) fn add(&mut self, row: SetSummary, document: AnyDocument, exit: Exit) {
        self.worsen(exit);
        self.entries.push(SetEntry {
            set_path: row.set_path.clone(),
            document: Some(document),
        });
        self.rows.push(row);
    }

    /// Adds the configuration of a fleet.
    fn skip(&mut self, path: SetPath) {
        self.entries.push(SetEntry {
            set_path: path.clone(),
            document: None,
        });
        let state = "skipped: it describes a fleet".to_owned();
        self.rows.push(SetSummary::without_set(path, state));
    }

    /// Reports the errors of a set that cannot start.
    pub(super) fn fail(&mut self, path: SetPath, errors: Errors, cx: &mut Context) {
        self.worsen(Exit::from(&errors));
        if matches!(cx.output.format, Format::Human | Format::Github) {
            print_heading(&path, cx);
            cx.output.report_errors(&errors);
        }
        self.entries.push(SetEntry {
            set_path: path.clone(),
            document: Some(AnyDocument::Error(ErrorDocument::new(&errors))),
        });
        let mut codes: Vec<&str> = errors.iter().map(|error| error.code.as_str()).collect();
        codes.dedup();
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

    /// Prints the document or the table.
    pub(super) fn print(self, cx: &mut Context) -> Exit {
        let exit = self.exit();
        if cx.output.format == Format::Json {
            cx.output.print_json(&SetsDocument {
                schema: "repin.sets/1",
                sets: self.entries,
            });
        } else {
            cx.output.print(sets::table(&self.rows));
        }
        exit
    }
}

/// Writes the set that the following messages are about.
pub(super) fn print_heading(path: &SetPath, cx: &Context) {
    cx.output
        .write_stderr(&format!("{}:\n", plain(&path.to_string())));
}
