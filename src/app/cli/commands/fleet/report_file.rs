//! The report of a shard as a file: one line for each repository, synced before the next repository.
//!
//! The file is never an input of a run. A run appends to the lines of earlier runs, and removes a truncated
//! last line, because the next line would continue it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{
    app::{fleet::FleetLine, workflow::output_file::OutputFile},
    base::{
        code::Code,
        error::{Error, Errors},
    },
};

/// The prefix of every line.
const PREFIX: &[u8] = b"{\"schema\":\"repin.fleet-line/1\"";
/// The maximum length of a line, in bytes.
const MAX_LINE: u64 = 16 * 1024 * 1024;

pub(super) struct ReportFile {
    name: PathBuf,
    file: File,
}

impl ReportFile {
    /// Opens the file of `--out`, and completes or removes a truncated last line; `None` for standard
    /// output.
    pub(super) fn open(out: &OutputFile) -> Result<Option<Self>, Errors> {
        let Some(mut file) = out.open_for_append()? else {
            return Ok(None);
        };
        let name = out.typed();
        let fail = |error| unwritable(name, &error);
        let (length, last) = last_line(&mut file).map_err(fail)?;
        if !last.is_empty() {
            if FleetLine::parse(&last).is_ok() {
                file.write_all(b"\n").map_err(fail)?;
            } else if last.starts_with(PREFIX) || PREFIX.starts_with(&last) {
                file.set_len(length - last.len() as u64).map_err(fail)?;
            } else {
                let message = format!("{} is not a report of a fleet", name.display());
                let error = Error::input(Code::FLEET_REPORT, message);
                return Err(error.help("pass another file to --out").into());
            }
        }
        Ok(Some(Self {
            name: name.to_owned(),
            file,
        }))
    }

    /// Appends and syncs a line.
    pub(super) fn append(&mut self, line: &FleetLine) -> Result<(), Errors> {
        let bytes = line_bytes(line)?;
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| unwritable(&self.name, &error))
    }
}

pub(super) fn line_bytes(line: &FleetLine) -> Result<Vec<u8>, Errors> {
    line.bytes().map_err(|error| Errors::io(error.to_string()))
}

/// The length of a file, and the bytes after its last line break.
fn last_line(file: &mut File) -> std::io::Result<(u64, Vec<u8>)> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_LINE)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let start = memchr::memrchr(b'\n', &end).map_or(0, |at| at + 1);
    Ok((length, end.split_off(start)))
}

fn unwritable(name: &Path, error: &std::io::Error) -> Errors {
    Errors::io(format!("cannot write {}: {error}", name.display()))
}
