//! What git and the scanner answered, kept in the repository so that a later run asks only for what is new.
//!
//! What `git log` says of the commits up to a tip depends on these commits, on the question, and on where a
//! shallow clone is cut off. Nothing else may change it: `git::command` switches off replaced objects, grafts
//! and settings. So an answer stays right, and that for a later tip of the same line is the old one and what git
//! says of the commits in between. What a content pins depends on its bytes, on the images, and on the program.
//!
//! Each answer is a file of `repin-history` in git's own directory: the name of the format, git's version, the tip
//! and the hash (SHA-256) of the rest, a line each; then zstd frames. A file that is damaged, or of another git,
//! counts for nothing, and so does one that cannot be written. Short answers are not kept: git has them as fast. A
//! repository may come from elsewhere, so no link is followed and no file removed that repin would not have written.

use std::{
    cell::OnceCell,
    ffi::OsStr,
    fs,
    io::{self, Cursor, Read, Write as _},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};

use zstd::stream::{read::Decoder, write::Encoder};

use crate::{
    git::{Git, ObjectId},
    oci::{Digest, is_hex},
};

const FORMAT: &str = "repin kept/1";
/// An answer of fewer bytes is not kept; a debug build keeps all, so that every test goes through what is kept.
const LEAST: usize = if cfg!(debug_assertions) {
    1
} else {
    1024 * 1024
};
/// The most of one answer, in bytes of the file.
const MOST: usize = 64 * 1024 * 1024;
/// The most answers; the oldest go.
const FILES: usize = 12;
/// The fastest compression of a log to a quarter.
const LEVEL: i32 = 1;

/// Where answers are kept.
#[derive(Debug, Clone)]
pub(super) struct Keep {
    directory: PathBuf,
    /// Whether answers are added.
    adds: bool,
    git: Git,
    /// Git's version, once it was asked for.
    version: Rc<OnceCell<Option<String>>>,
}

/// An answer that was kept.
pub(super) struct Kept {
    /// The commit up to which it goes; `None`: it is about no commits.
    pub(super) tip: Option<ObjectId>,
    frames: Arc<[u8]>,
}

/// What will be kept, as it is read.
pub(super) struct Keeping {
    encoder: Encoder<'static, Vec<u8>>,
    length: usize,
}

impl Keep {
    /// That of a repository.
    pub(super) fn of(git: &Git, adds: bool) -> Self {
        Self {
            directory: git.directory().join("repin-history"),
            adds,
            git: git.clone(),
            version: Rc::default(),
        }
    }

    fn version(&self) -> Option<&str> {
        let version = self.version.get_or_init(|| self.git.version().ok());
        version.as_deref()
    }

    /// The answer to a question, if it is whole.
    pub(super) fn load(&self, question: &Digest) -> Option<Kept> {
        let mut bytes = Vec::new();
        let path = self.file(question);
        // Neither a link nor a pipe is opened.
        if !is_directory(&self.directory) || !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let most = MOST as u64 + 1024;
        let file = fs::File::open(path).ok()?;
        file.take(most).read_to_end(&mut bytes).ok()?;
        let mut lines = bytes.splitn(5, |byte| *byte == b'\n');
        let mut line = || std::str::from_utf8(lines.next()?).ok();
        let (format, version, tip, hash) = (line()?, line()?, line()?, line()?);
        let frames = lines.next()?;
        if format != FORMAT || Some(version) != self.version() || Digest::of(frames).hex() != hash {
            return None;
        }
        let tip = match tip {
            "" => None,
            tip => Some(ObjectId::parse(tip.as_bytes())?),
        };
        let frames = frames.into();
        Some(Kept { tip, frames })
    }

    /// Keeps what was answered, behind what was kept already. An answer that cannot be kept is no error.
    pub(super) fn store(
        &self,
        question: &Digest,
        tip: Option<&ObjectId>,
        before: Option<&Kept>,
        answer: Keeping,
    ) {
        let long = answer.length >= LEAST || before.is_some();
        if self.adds && answer.length > 0 && long {
            let _ = self.write(question, tip, before, answer);
        }
    }

    /// Forgets an answer that cannot be read.
    pub(super) fn forget(&self, question: &Digest) {
        if self.adds && is_directory(&self.directory) {
            // It may be gone already.
            let _ = fs::remove_file(self.file(question));
        }
    }

    fn write(
        &self,
        question: &Digest,
        tip: Option<&ObjectId>,
        before: Option<&Kept>,
        answer: Keeping,
    ) -> io::Result<()> {
        let new = answer.encoder.finish()?;
        let before = before.map_or(&[][..], |kept| &kept.frames);
        let frames = [before, &new].concat();
        if frames.len() > MOST {
            return Ok(());
        }
        let Some(version) = self.version() else {
            return Ok(());
        };
        let tip = tip.map(ToString::to_string).unwrap_or_default();
        let hash = Digest::of(&frames).hex();
        let head = format!("{FORMAT}\n{version}\n{tip}\n{hash}\n");
        if let Err(error) = fs::create_dir(&self.directory)
            && !is_directory(&self.directory)
        {
            return Err(error);
        }
        let file = self.file(question);
        let new = file.with_extension(std::process::id().to_string());
        let written = fs::write(&new, [head.as_bytes(), &frames].concat());
        written.and_then(|()| fs::rename(&new, &file))?;
        self.clean()
    }

    /// Removes the oldest answers, and what killed runs left.
    fn clean(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if !is_answer(&entry.file_name()) {
                continue;
            }
            let written = entry
                .metadata()?
                .modified()
                .unwrap_or(SystemTime::UNIX_EPOCH);
            files.push((written, entry.path()));
        }
        files.sort_unstable();
        let old = files.len().saturating_sub(FILES);
        files[..old]
            .iter()
            .try_for_each(|(_, path)| fs::remove_file(path))
    }

    fn file(&self, question: &Digest) -> PathBuf {
        self.directory.join(question.hex())
    }
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Whether a file with this name is an answer, or one that is being written: a hash, or a hash and a process id.
fn is_answer(name: &OsStr) -> bool {
    let Some((hash, rest)) = name.as_encoded_bytes().split_at_checked(64) else {
        return false;
    };
    let process = rest.strip_prefix(b".").unwrap_or(rest);
    is_hex(hash) && process.iter().all(u8::is_ascii_digit)
}

impl Kept {
    /// Its bytes, as they were answered.
    pub(super) fn bytes(&self) -> io::Result<impl Read + use<>> {
        Decoder::with_buffer(Cursor::new(Arc::clone(&self.frames)))
    }
}

impl Keeping {
    pub(super) fn new() -> io::Result<Self> {
        let encoder = Encoder::new(Vec::new(), LEVEL)?;
        Ok(Self { encoder, length: 0 })
    }

    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len();
        self.encoder.write_all(bytes)
    }

    /// Whether it got too long.
    pub(super) fn is_too_long(&self) -> bool {
        self.encoder.get_ref().len() > MOST
    }
}
