//! Contents of objects, from one `git cat-file --batch`.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{ChildStdin, ChildStdout},
};

use super::{GitError, ObjectId, command::Running};

/// One process that hands out blobs for as long as it is kept.
pub(crate) struct Objects {
    running: Running,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

const COMMAND: &str = "cat-file";
const END: &str = "an end where an object was asked for";

impl Objects {
    pub(super) fn new(mut running: Running) -> Result<Self, GitError> {
        let stdin = Some(running.stdin()?);
        let stdout = BufReader::with_capacity(64 * 1024, running.stdout()?);
        Ok(Self { running, stdin, stdout })
    }

    /// The content of one blob; `None` if it is larger than `most` bytes.
    pub(crate) fn blob(&mut self, id: &ObjectId, most: u64) -> Result<Option<Vec<u8>>, GitError> {
        let asked = self.stdin.as_mut().map_or(Ok(()), |stdin| {
            stdin.write_all(format!("{id}\n").as_bytes())?;
            stdin.flush()
        });
        asked.map_err(|error| self.running.io(error))?;
        let mut content = None;
        let answered = answer(&mut self.stdout, id, &mut |size, from| {
            if size <= most {
                let bytes = content.insert(Vec::new());
                from.read_to_end(bytes)?;
            }
            Ok(())
        });
        self.explained(answered)?;
        Ok(content)
    }

    /// Hands each of the blobs to `each`, in this order, as a stream; asking and reading overlap.
    pub(crate) fn blobs(
        mut self,
        ids: &[ObjectId],
        mut each: impl FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> Result<(), GitError> {
        let stdin = self.stdin.take();
        let (running, stdout) = (&mut self.running, &mut self.stdout);
        let read = std::thread::scope(|scope| {
            scope.spawn(move || stdin.map(|stdin| ask(stdin, ids)));
            let read = ids.iter().try_for_each(|id| answer(stdout, id, &mut |_, from| each(from)));
            if read.as_ref().is_err_and(|error| !is_end(error)) {
                // Or the thread that asks would wait for a reader for ever.
                running.stop();
            }
            read
        });
        self.explained(read)?;
        self.running.finish(&[]).map(drop)
    }

    /// Where git ended too early, the reason that it gave itself.
    fn explained(&mut self, answered: Result<(), GitError>) -> Result<(), GitError> {
        if answered.as_ref().is_err_and(is_end) {
            self.running.finish(&[])?;
        }
        answered
    }
}

fn is_end(error: &GitError) -> bool {
    matches!(error, GitError::Malformed { what: END, .. })
}

/// Asks for every object; a git that went away shows in what it answered.
fn ask(stdin: ChildStdin, ids: &[ObjectId]) -> io::Result<()> {
    let mut stdin = io::BufWriter::new(stdin);
    for id in ids {
        writeln!(stdin, "{id}")?;
    }
    stdin.flush()
}

/// Reads one answer: `ID blob SIZE`, a newline, SIZE bytes, a newline; or `ID missing`.
fn answer(
    stdout: &mut BufReader<ChildStdout>,
    id: &ObjectId,
    each: &mut dyn FnMut(u64, &mut dyn Read) -> io::Result<()>,
) -> Result<(), GitError> {
    let io = |error| GitError::Io { command: COMMAND, error };
    let unexpected = |what| GitError::Malformed { command: COMMAND, what };
    let mut head = Vec::new();
    stdout.by_ref().take(256).read_until(b'\n', &mut head).map_err(io)?;
    if head.is_empty() {
        return Err(unexpected(END));
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.trim_end().split(' ');
    if words.next() != Some(id.to_string().as_str()) {
        return Err(unexpected("the answer to another question"));
    }
    match (words.next(), words.next().and_then(|size| size.parse().ok())) {
        (Some("blob"), Some(size)) => {
            let mut content = stdout.by_ref().take(size);
            each(size, &mut content).map_err(io)?;
            io::copy(&mut content, &mut io::sink()).map_err(io)?;
            let mut end = [0];
            stdout.read_exact(&mut end).map_err(io)
        }
        (Some("missing"), None) => Err(GitError::Missing(*id)),
        _ => Err(unexpected("an object that is no file content")),
    }
}
