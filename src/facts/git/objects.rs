//! Contents of objects, from one `git cat-file --batch`.
//!
//! Asking and reading overlap: a thread of its own reads the answers, in the order of the
//! questions, while whoever asks goes on.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    process::{ChildStdin, ChildStdout},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

use super::{GitError, ObjectId, command::Running};

/// One process that hands out blobs, and what became of those that were asked for in passing.
pub(crate) struct Objects<T> {
    running: Running,
    questions: Option<(BufWriter<ChildStdin>, Sender<Question>)>,
    answers: Option<JoinHandle<Answers<T>>>,
}

/// What the contents came to that had something to them; or the answer that could not be read.
type Answers<T> = Result<HashMap<ObjectId, T>, GitError>;

struct Question {
    id: ObjectId,
    /// Where the whole content goes, if it is no larger than so many bytes; else it is digested in
    /// passing.
    whole: Option<(u64, Sender<Option<Vec<u8>>>)>,
}

const COMMAND: &str = "cat-file";
const END: &str = "an end where an object was asked for";

impl<T: Send + 'static> Objects<T> {
    /// `digest` makes something of each content, as a stream, or nothing.
    pub(super) fn new(
        mut running: Running,
        digest: impl FnMut(&mut dyn Read) -> io::Result<Option<T>> + Send + 'static,
    ) -> Result<Self, GitError> {
        let stdin = BufWriter::new(running.stdin()?);
        let stdout = BufReader::with_capacity(64 * 1024, running.stdout()?);
        let (sender, questions) = channel();
        let answers = std::thread::spawn(move || read(stdout, &questions, digest));
        Ok(Self {
            running,
            questions: Some((stdin, sender)),
            answers: Some(answers),
        })
    }

    /// Asks for the content of a blob, which is digested in passing.
    pub(crate) fn ask(&mut self, id: ObjectId) -> Result<(), GitError> {
        self.put(Question { id, whole: None })
    }

    /// The content of one blob, after all that was asked for before; `None` if it is larger than
    /// `most` bytes.
    pub(crate) fn blob(&mut self, id: ObjectId, most: u64) -> Result<Option<Vec<u8>>, GitError> {
        let (sender, content) = channel();
        self.put(Question {
            id,
            whole: Some((most, sender)),
        })?;
        let flushed = self
            .questions
            .as_mut()
            .map_or(Ok(()), |(stdin, _)| stdin.flush());
        match flushed.map(|()| content.recv()) {
            Ok(Ok(content)) => Ok(content),
            Ok(Err(_)) => Err(self.failed(io::Error::other("the answers ended"))),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// What was made of the contents, after the last answer.
    pub(crate) fn finish(mut self) -> Answers<T> {
        let flushed = self
            .questions
            .take()
            .map_or(Ok(()), |(mut stdin, _)| stdin.flush());
        let answers = self.end()?;
        flushed.map_err(|error| GitError::Io {
            command: COMMAND,
            error,
        })?;
        self.running.finish(&[])?;
        Ok(answers)
    }

    fn put(&mut self, question: Question) -> Result<(), GitError> {
        let Some((stdin, sender)) = &mut self.questions else {
            return Err(self.failed(io::Error::other("it has ended")));
        };
        let asked = writeln!(stdin, "{}", question.id);
        let sent = sender
            .send(question)
            .map_err(|_| io::Error::other("the answers ended"));
        asked.and(sent).map_err(|error| self.failed(error))
    }

    /// Why git went away while something was asked: its own reason, if it gave one.
    fn failed(&mut self, error: io::Error) -> GitError {
        self.questions = None;
        self.end().err().unwrap_or(GitError::Io {
            command: COMMAND,
            error,
        })
    }

    fn end(&mut self) -> Answers<T> {
        let gone = |what| GitError::Io {
            command: COMMAND,
            error: io::Error::other(what),
        };
        let Some(thread) = self.answers.take() else {
            return Err(gone("it has ended"));
        };
        let answers = thread
            .join()
            .map_err(|_| gone("its answers could not be read"))?;
        if let Err(GitError::Malformed { what: END, .. }) = &answers {
            // Where git ended too early, its own reason comes first.
            self.running.finish(&[])?;
        }
        answers
    }
}

/// Reads the answer to each question until nobody asks any more.
fn read<T>(
    mut stdout: BufReader<ChildStdout>,
    questions: &Receiver<Question>,
    mut digest: impl FnMut(&mut dyn Read) -> io::Result<Option<T>>,
) -> Answers<T> {
    let mut answers = HashMap::new();
    for Question { id, whole } in questions {
        answer(&mut stdout, &id, |size, content| {
            match whole {
                None => answers.extend(digest(content)?.map(|digested| (id, digested))),
                Some((most, to)) => {
                    let mut bytes = Vec::new();
                    let fits = size <= most;
                    if fits {
                        content.read_to_end(&mut bytes)?;
                    }
                    // Whoever asked may have gone on without it.
                    let _ = to.send(fits.then_some(bytes));
                }
            }
            Ok(())
        })?;
    }
    Ok(answers)
}

/// Reads one answer: `ID blob SIZE`, a newline, SIZE bytes, a newline; or `ID missing`.
fn answer(
    stdout: &mut BufReader<ChildStdout>,
    id: &ObjectId,
    each: impl FnOnce(u64, &mut dyn Read) -> io::Result<()>,
) -> Result<(), GitError> {
    let io = |error| GitError::Io {
        command: COMMAND,
        error,
    };
    let unexpected = |what| GitError::Malformed {
        command: COMMAND,
        what,
    };
    let mut head = Vec::new();
    stdout
        .by_ref()
        .take(256)
        .read_until(b'\n', &mut head)
        .map_err(io)?;
    if head.is_empty() {
        return Err(unexpected(END));
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.trim_end().split(' ');
    if words.next() != Some(id.to_string().as_str()) {
        return Err(unexpected("the answer to another question"));
    }
    match (
        words.next(),
        words.next().and_then(|size| size.parse().ok()),
    ) {
        (Some("blob"), Some(size)) => {
            let mut content = stdout.by_ref().take(size);
            each(size, &mut content).map_err(io)?;
            io::copy(&mut content, &mut io::sink()).map_err(io)?;
            let mut end = [0];
            // A content that is cut off shows here: then this is git's early end, too.
            stdout.read_exact(&mut end).map_err(|_| unexpected(END))
        }
        (Some("missing"), None) => Err(GitError::Missing(*id)),
        _ => Err(unexpected("an object that is no file content")),
    }
}
