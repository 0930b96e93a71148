//! The reports that a caller asks for: where they go, and the template of the body.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Place, Run};
use crate::{
    cli::{args::Change, context::Context, exit::usage, github::StepFiles, output::Format},
    error::{Error, Errors},
};

/// The reports that the caller named, and the template of the body.
pub(in super::super) struct Reports {
    pub(super) diff_file: Option<PathBuf>,
    pub(super) body_file: Option<PathBuf>,
    folder: PathBuf,
    pub(super) template: Option<(String, String)>,
}

impl Reports {
    /// Reads the template and checks where reports go, before anything is asked for.
    pub(in super::super) fn new(
        change: &Change,
        place: &Place,
        cx: &Context,
    ) -> Result<Self, Errors> {
        let config = &place.config;
        let dash = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
        if cx.output.format == Format::Json && (dash(&change.diff_file) || dash(&change.body_file))
        {
            return Err(usage(
                "standard output can't hold a report beside --format json: name a file instead of `-`",
            ));
        }
        if cx.output.format == Format::Github {
            // What can't be written to is found out before anything is changed.
            StepFiles::open(&cx.environment)?;
        }
        let template = match &config.report.template {
            None => None,
            Some(path) => {
                let wrong = |why: String| {
                    Errors::from(Error::input(
                        "template",
                        format!("can't read {path}: {why}"),
                    ))
                };
                let bytes = place
                    .files()
                    .read(path)
                    .map_err(|error| wrong(error.error.to_string()))?;
                Some((
                    path.to_string(),
                    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?,
                ))
            }
        };
        let folder = cx.environment.folder().to_owned();
        Ok(Self {
            diff_file: change.diff_file.clone(),
            body_file: change.body_file.clone(),
            folder,
            template,
        })
    }

    /// Writes the files that the caller named; those on standard output are printed at the end.
    pub(in super::super) fn write(&self, run: &Run<'_>) -> Result<(), Errors> {
        let body = run.document.body.as_deref().unwrap_or_default();
        for (file, content) in [
            (&self.diff_file, run.diff.as_slice()),
            (&self.body_file, body.as_bytes()),
        ] {
            let Some(file) = file.as_ref().filter(|file| *file != Path::new("-")) else {
                continue;
            };
            let written = fs::write(self.folder.join(file), content);
            written
                .map_err(|error| Errors::io(format!("can't write {}: {error}", file.display())))?;
        }
        Ok(())
    }
}
