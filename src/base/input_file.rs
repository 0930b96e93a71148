//! Reads the files to which options and variables refer: regular files and pipes, with a limit of size.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

/// The maximum time until the end of a pipe, which may be waiting for a writer.
const PIPE_DEADLINE: Duration = Duration::from_secs(30);

/// The content of a file of at most `max` bytes.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_until(path, max, PIPE_DEADLINE)
}

fn read_until(path: &Path, max: u64, deadline: Duration) -> io::Result<Vec<u8>> {
    // Opening a pipe without a writer must not block the run.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A socket.
        Err(Errno::NXIO) => return Err(not_readable()),
        Err(error) => return Err(error.into()),
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    match kind {
        FileType::RegularFile => bounded(file, max),
        FileType::Fifo => bounded(Pipe::new(file, deadline), max),
        FileType::Directory => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(not_readable()),
    }
}

/// A pipe that is read until a deadline. It was opened without waiting for a writer.
struct Pipe {
    file: File,
    start: Instant,
    deadline: Duration,
}

impl Pipe {
    fn new(file: File, deadline: Duration) -> Self {
        let start = Instant::now();
        Self {
            file,
            start,
            deadline,
        }
    }

    /// Waits for content, or for the end of all writers.
    fn wait(&self) -> io::Result<()> {
        let mut events = [PollFd::new(&self.file, PollFlags::IN)];
        loop {
            let left = self.deadline.saturating_sub(self.start.elapsed());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            match rustix::event::poll(&mut events, Some(&left)) {
                Ok(0) => {
                    let seconds = self.deadline.as_secs();
                    let message = format!("the pipe was not complete after {seconds} s");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait()?;
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

fn bounded(file: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let message = format!("it is larger than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

fn not_readable() -> io::Error {
    io::Error::other("it is neither a regular file nor a pipe")
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, thread};

    use rustix::fs::{CWD, mkfifoat};

    use super::*;

    #[test]
    fn larger_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "four").unwrap();
        assert_eq!(read(&file, 4).unwrap(), b"four");
        let error = read(&file, 3).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 3 bytes");
    }

    #[test]
    fn special_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [Path::new("/dev/zero"), &socket] {
            let error = read(path, 10).unwrap_err();
            assert_eq!(
                error.to_string(),
                "it is neither a regular file nor a pipe",
                "{path:?}"
            );
        }
        let error = read(directory.path(), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        let error = read(&directory.path().join("absent"), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn pipe_is_read_until_its_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        let error = read_until(&pipe, 10, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let pipe = directory.path().join("another");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        let path = pipe.clone();
        let writer = thread::spawn(move || {
            let mut pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
            pipe.write_all(b"con").unwrap();
            pipe.write_all(b"tent").unwrap();
        });
        assert_eq!(read(&pipe, 10).unwrap(), b"content");
        writer.join().unwrap();
    }
}
