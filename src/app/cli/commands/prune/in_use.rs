//! The files of `prune --in-use`.

use std::{fs, io, path::Path, path::PathBuf, time::Duration};

use crate::{
    app::workflow::Environment,
    base::{
        error::{Class, Code, Error, Errors, usage},
        input_file,
        untrusted::{plain, short},
    },
    config::duration,
    oci::date,
    prune::{RunningFile, running_images},
};

/// The maximum size of a file, in bytes: the pods of a large cluster with all their fields.
const MAX_FILE: u64 = 256 * 1024 * 1024;
/// The maximum time by which a file may be ahead of the clock of this machine.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// The maximum length of a reason, which may quote the file.
const MAX_REASON: usize = 300;

/// Reads the images that run. A file that does not show them completely ends the run.
pub(super) fn read(
    files: &[PathBuf],
    max_age_text: &str,
    environment: &Environment,
) -> Result<Vec<RunningFile>, Errors> {
    let max_age = duration::parse(max_age_text)
        .map_err(|error| usage(format!("--in-use-max-age: {error}")))?;
    let mut running = Vec::new();
    for file in files {
        let (name, path) = if file == Path::new("-") {
            ("standard input".to_owned(), PathBuf::from("/dev/stdin"))
        } else {
            let name = file.display().to_string();
            (name, environment.directory().join(file))
        };
        let refused = |reason: String| {
            let reason = short(&reason, MAX_REASON);
            let message = plain(&format!("{name} does not show which images run: {reason}"));
            Error::new(Class::Unavailable, Code::IN_USE, message)
        };
        let changed = fs::metadata(&path)
            .and_then(|metadata| metadata.modified())
            .map_err(|error| refused(describe(&error)))?;
        let now = (environment.clock)();
        let ahead = changed.duration_since(now).unwrap_or_default();
        if ahead > CLOCK_TOLERANCE {
            let reason = format!(
                "it is of {} s in the future, so its age is unknown",
                ahead.as_secs()
            );
            return Err(refused(reason).into());
        }
        let age = now.duration_since(changed).unwrap_or_default();
        if age > max_age {
            let date = date::format(changed);
            let reason =
                format!("it was written at {date}, and --in-use-max-age is {max_age_text}");
            return Err(refused(reason).into());
        }
        let text = input_file::read(&path, MAX_FILE).map_err(|error| refused(describe(&error)))?;
        let images = running_images(&text).map_err(refused)?;
        running.push(RunningFile { name, images });
    }
    Ok(running)
}

fn describe(error: &io::Error) -> String {
    format!("it cannot be read: {error}")
}
