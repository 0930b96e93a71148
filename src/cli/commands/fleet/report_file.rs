//! The report of a shard as a file: a line for each repository, on the disk before the next one is
//! begun.
//!
//! The file is a report and never an input. A run appends to what earlier runs wrote; a last line that
//! was cut off is taken away, since it would spoil the next one.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{
    code::Code,
    error::{Error, Errors},
    fleet::FleetLine,
};

/// How every line begins.
const BEGINNING: &[u8] = b"{\"schema\":\"repin.fleet-line/1\"";
/// The longest line that is looked for, in bytes.
const LINE_MAX: u64 = 16 * 1024 * 1024;

/// A report that lines are appended to.
pub(super) struct ReportFile {
    name: PathBuf,
    file: File,
}

impl ReportFile {
    /// Opens the file `name` in `directory`, whose last line is whole afterwards.
    pub(super) fn open(directory: &Path, name: &Path) -> Result<Self, Errors> {
        let path = directory.join(name);
        let opened = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path);
        let fail = |error| unwritable(name, &error);
        let mut file = opened.map_err(fail)?;
        let (length, last) = last_line(&mut file).map_err(fail)?;
        if !last.is_empty() {
            if FleetLine::parse(&last).is_ok() {
                file.write_all(b"\n").map_err(fail)?;
            } else if last.starts_with(BEGINNING) || BEGINNING.starts_with(&last) {
                file.set_len(length - last.len() as u64).map_err(fail)?;
            } else {
                let message = format!("{} is not a report of a fleet", name.display());
                let problem = Error::input(Code::FLEET_REPORT, message);
                return Err(problem.help("pass another file to --out").into());
            }
        }
        Ok(Self {
            name: name.to_owned(),
            file,
        })
    }

    /// Appends a line, and waits until it is on the disk.
    pub(super) fn append(&mut self, line: &FleetLine) -> Result<(), Errors> {
        let bytes = line
            .bytes()
            .map_err(|error| Errors::io(error.to_string()))?;
        let written = self.file.write_all(&bytes);
        let synced = written.and_then(|()| self.file.sync_data());
        synced.map_err(|error| unwritable(&self.name, &error))
    }
}

/// The length of a file, and what stands behind its last line break.
fn last_line(file: &mut File) -> std::io::Result<(u64, Vec<u8>)> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LINE_MAX)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let start = memchr::memrchr(b'\n', &end).map_or(0, |at| at + 1);
    Ok((length, end.split_off(start)))
}

fn unwritable(name: &Path, error: &std::io::Error) -> Errors {
    Errors::io(format!("cannot write {}: {error}", name.display()))
}
