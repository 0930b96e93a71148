//! Contents of objects, from one `git cat-file --batch`.
//!
//! Asking and reading overlap: a thread of its own reads the responses, in the order of the
//! questions, while whoever asks continues.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    process::{ChildStdin, ChildStdout},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

use super::{GitError, ObjectId, command::Running};

/// One process that hands out blobs, and what became of those that were requested in passing.
pub(crate) struct Objects<T> {
    running: Running,
    questions: Option<(BufWriter<ChildStdin>, Sender<Question>)>,
    answers: Option<JoinHandle<Answers<T>>>,
}

/// What the contents came to that had something to them; or the response that could not be read.
type Answers<T> = Result<HashMap<ObjectId, T>, GitError>;

/// An object of any kind.
#[derive(Debug)]
pub(crate) enum Object {
    /// The content of a file; it is requested by itself.
    Blob,
    /// The entries of a directory.
    Tree(Vec<u8>),
    /// A commit, or an annotated tag: headers and a message.
    Text(Vec<u8>),
}

struct Question {
    id: ObjectId,
    to: Destination,
}

/// Where a response goes.
enum Destination {
    /// A blob is digested in passing.
    Digest,
    /// The whole blob, if it is no larger than so many bytes.
    Whole(u64, Sender<Option<Vec<u8>>>),
    /// Whatever it is; nothing where it is missing.
    Any(Sender<Option<Object>>),
}

/// The largest commit, tag or tree, in bytes.
const LARGEST: u64 = 256 * 1024 * 1024;

const COMMAND: &str = "cat-file";
const END: &str = "the end of the output instead of an object";

impl<T: Send + 'static> Objects<T> {
    /// `digest` makes something of each content, as a stream, or nothing.
    pub(super) fn new(
        mut running: Running,
        digest: impl FnMut(&ObjectId, &mut dyn Read) -> io::Result<Option<T>> + Send + 'static,
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
        self.put(Question {
            id,
            to: Destination::Digest,
        })
    }

    /// The content of one blob, after all that was requested before; `None` if it is larger than
    /// `most` bytes.
    pub(crate) fn blob(&mut self, id: ObjectId, most: u64) -> Result<Option<Vec<u8>>, GitError> {
        let (sender, content) = channel();
        self.put(Question {
            id,
            to: Destination::Whole(most, sender),
        })?;
        self.wait(&content)
    }

    /// An object of any kind, after all that was requested before; `None` if it is missing here.
    pub(crate) fn object(&mut self, id: ObjectId) -> Result<Option<Object>, GitError> {
        let (sender, object) = channel();
        self.put(Question {
            id,
            to: Destination::Any(sender),
        })?;
        self.wait(&object)
    }

    fn wait<A>(&mut self, answer: &Receiver<A>) -> Result<A, GitError> {
        let flushed = self
            .questions
            .as_mut()
            .map_or(Ok(()), |(stdin, _)| stdin.flush());
        match flushed.map(|()| answer.recv()) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(self.failed(io::Error::other("the output ended early"))),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// What was made of the contents, after the last response.
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
            return Err(self.failed(io::Error::other("it has exited")));
        };
        let asked = writeln!(stdin, "{}", question.id);
        let sent = sender
            .send(question)
            .map_err(|_| io::Error::other("the output ended early"));
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
            return Err(gone("it has exited"));
        };
        let answers = thread
            .join()
            .map_err(|_| gone("its output could not be read"))?;
        if let Err(GitError::Malformed { what: END, .. }) = &answers {
            // Where git ended too early, its own reason comes first.
            self.running.finish(&[])?;
        }
        answers
    }
}

/// Reads the response to each question until nobody asks any more.
fn read<T>(
    mut stdout: BufReader<ChildStdout>,
    questions: &Receiver<Question>,
    mut digest: impl FnMut(&ObjectId, &mut dyn Read) -> io::Result<Option<T>>,
) -> Answers<T> {
    let mut answers = HashMap::new();
    for Question { id, to } in questions {
        match (head(&mut stdout, &id)?, to) {
            (None, Destination::Any(to)) => drop(to.send(None)),
            (None, _) => return Err(GitError::Missing(id)),
            (Some(head), Destination::Any(to)) => {
                // Whoever asked may have gone on without it.
                let _ = to.send(Some(object(&mut stdout, &head)?));
            }
            (Some(head), to) => {
                if head.kind != "blob" {
                    return Err(unexpected("an object that is not a blob"));
                }
                content(&mut stdout, head.size, |content| {
                    match to {
                        Destination::Whole(most, to) => {
                            let mut bytes = Vec::new();
                            let fits = head.size <= most;
                            if fits {
                                content.read_to_end(&mut bytes)?;
                            }
                            let _ = to.send(fits.then_some(bytes));
                        }
                        Destination::Digest | Destination::Any(_) => {
                            answers.extend(digest(&id, content)?.map(|digested| (id, digested)));
                        }
                    }
                    Ok(())
                })?;
            }
        }
    }
    Ok(answers)
}

fn unexpected(what: &'static str) -> GitError {
    GitError::Malformed {
        command: COMMAND,
        what,
    }
}

/// The header before an object's content.
struct Head {
    kind: String,
    size: u64,
}

/// Reads the first line of a response: `ID TYPE SIZE`, or `ID missing`.
fn head(stdout: &mut BufReader<ChildStdout>, id: &ObjectId) -> Result<Option<Head>, GitError> {
    let mut line = Vec::new();
    stdout
        .by_ref()
        .take(256)
        .read_until(b'\n', &mut line)
        .map_err(|error| GitError::Io {
            command: COMMAND,
            error,
        })?;
    if line.is_empty() {
        return Err(unexpected(END));
    }
    let line = String::from_utf8_lossy(&line);
    let mut words = line.trim_end().split(' ');
    if words.next() != Some(id.to_string().as_str()) {
        return Err(unexpected("a response for another object"));
    }
    let (kind, size) = (words.next(), words.next());
    match (kind, size.and_then(|size| size.parse().ok())) {
        (Some("missing"), None) => Ok(None),
        (Some(kind @ ("blob" | "tree" | "commit" | "tag")), Some(size)) => Ok(Some(Head {
            kind: kind.to_owned(),
            size,
        })),
        _ => Err(unexpected("an object of unknown type")),
    }
}

/// Reads the rest of a response: so many bytes and a newline.
fn content(
    stdout: &mut BufReader<ChildStdout>,
    size: u64,
    each: impl FnOnce(&mut dyn Read) -> io::Result<()>,
) -> Result<(), GitError> {
    let io = |error| GitError::Io {
        command: COMMAND,
        error,
    };
    let mut content = stdout.by_ref().take(size);
    each(&mut content).map_err(io)?;
    io::copy(&mut content, &mut io::sink()).map_err(io)?;
    let mut end = [0];
    // A content that is cut off shows here: then this is git's early end, too.
    stdout.read_exact(&mut end).map_err(|_| unexpected(END))
}

fn object(stdout: &mut BufReader<ChildStdout>, head: &Head) -> Result<Object, GitError> {
    let mut bytes = Vec::new();
    if head.kind == "blob" {
        content(stdout, head.size, |_| Ok(()))?;
        return Ok(Object::Blob);
    }
    if head.size > LARGEST {
        return Err(unexpected("a commit, tag or tree of more than 256 MiB"));
    }
    content(stdout, head.size, |content| {
        content.read_to_end(&mut bytes).map(drop)
    })?;
    Ok(match head.kind.as_str() {
        "tree" => Object::Tree(bytes),
        _ => Object::Text(bytes),
    })
}
