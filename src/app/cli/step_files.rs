//! The files that GitHub Actions processes after a step: outputs and the step summary.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use rustix::fs::{Mode, OFlags};

use crate::{
    app::workflow::Environment,
    base::{error::Errors, untrusted::workflow},
};

/// The maximum size of a summary, in bytes (GitHub Actions, "Adding a job summary": 1 MiB per step).
const MAX_SUMMARY: u64 = 1024 * 1024;

const NOTICE: &str = "\n\n> The rest was left out, because a step summary is limited to 1 MiB.\n";

/// The files. They are opened before any change, so that a wrong path stops the run in time.
pub(super) struct StepFiles {
    output: Option<File>,
    summary: Option<File>,
}

impl StepFiles {
    pub(super) fn open(environment: &Environment) -> Result<Self, Errors> {
        let open = |name: &str| {
            let Some(path) = environment.filled(name) else {
                return Ok(None);
            };
            let path = environment.directory().join(path);
            open_for_append(&path).map(Some).map_err(|error| {
                Errors::io(format!("cannot open {name} ({}): {error}", path.display()))
            })
        };
        Ok(Self {
            output: open("GITHUB_OUTPUT")?,
            summary: open("GITHUB_STEP_SUMMARY")?,
        })
    }

    pub(super) fn outputs(&mut self, values: &[(&str, String)]) -> Result<(), Errors> {
        let Some(file) = &mut self.output else {
            return Ok(());
        };
        let mut text = String::new();
        for (name, value) in values {
            // A value could contain a predictable delimiter and inject further outputs.
            let mut delimiter = random_id()?;
            while value.contains(&delimiter) {
                delimiter = random_id()?;
            }
            text.push_str(&workflow::output(name, value, &delimiter));
        }
        file.write_all(text.as_bytes())
            .map_err(|error| Errors::io(format!("cannot write to GITHUB_OUTPUT: {error}")))
    }

    /// Appends to the summary, up to its maximum size.
    pub(super) fn summary(&mut self, text: &str) -> Result<(), Errors> {
        let Some(file) = &mut self.summary else {
            return Ok(());
        };
        let fail = |error: std::io::Error| {
            Errors::io(format!("cannot write to GITHUB_STEP_SUMMARY: {error}"))
        };
        let spare = MAX_SUMMARY
            .saturating_sub(file.metadata().map_err(fail)?.len() + NOTICE.len() as u64 + 1);
        let mut end = text.len().min(usize::try_from(spare).unwrap_or(usize::MAX));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let notice = match end {
            0 => "",
            end if end < text.len() => NOTICE,
            _ => "\n",
        };
        file.write_all(format!("{}{notice}", &text[..end]).as_bytes())
            .map_err(fail)
    }
}

/// Opens a file without waiting for the reader of a pipe.
fn open_for_append(path: &Path) -> io::Result<File> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))?;
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file.into())
}

/// An unpredictable identifier.
pub(super) fn random_id() -> Result<String, Errors> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Errors::io(format!("cannot read random bytes: {error}")))?;
    Ok(format!("repin-{}", hex::encode(bytes)))
}
