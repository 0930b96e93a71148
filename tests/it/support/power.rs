//! The possible contents of a disk after a power cut, derived from the system calls of runs.
//!
//! The weakest file system that POSIX allows: an operation on a name is durable once its directory
//! was synced, a write to a file and its mode once the file was synced. Until then each operation
//! may be lost or stored independently of the others, and a write may be torn. Only a rename, an
//! exchange, a link and a removal are atomic.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    strace::{Call, Trace},
    tree::is_lock,
};

/// The calls that [`History::add`] understands; no other may change anything.
pub const CHANGING: &str = "open,openat,creat,write,pwrite64,writev,truncate,ftruncate,fallocate,\
    fsync,fdatasync,sync_file_range,syncfs,rename,renameat,renameat2,link,linkat,symlink,symlinkat,\
    unlink,unlinkat,rmdir,mkdir,mkdirat,chmod,fchmod,fchmodat,chown,fchown,fchownat,mknod,mknodat,\
    copy_file_range,sendfile,setxattr,fsetxattr";

/// A file by its number, a directory by its path below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    File(usize),
    Directory,
}

/// A file, independent of its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    pub bytes: Rc<Vec<u8>>,
    pub mode: u32,
}

/// Names and files.
#[derive(Debug, Clone, Default)]
struct Disk {
    directories: BTreeMap<PathBuf, BTreeMap<String, Entry>>,
    files: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Operation {
    /// Names of one directory that change at once.
    Names(PathBuf, Vec<(String, Option<Entry>)>),
    Write(usize, usize, Vec<u8>),
    Mode(usize, u32),
    SyncDirectory(PathBuf),
    SyncFile(usize),
}

/// The outcome of an operation that was not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IssueAction {
    Lost,
    Kept,
    /// The length arrived, and half of the bytes.
    Torn,
}

/// Everything below a root: the file of each path by its number, so that two names of one file are
/// seen to be that.
pub type Files = BTreeMap<PathBuf, (usize, Node)>;

/// The operations of consecutive runs on a tree since everything was durable.
#[derive(Debug, Clone)]
pub struct History {
    root: PathBuf,
    before: Disk,
    /// As programs see it.
    now: Disk,
    operations: Vec<Operation>,
}

impl History {
    /// The current tree; of `.git` only the files that repin uses.
    pub fn of(root: &Path) -> Self {
        let mut disk = Disk::default();
        disk.load(root, Path::new(""));
        Self {
            root: root.to_owned(),
            before: disk.clone(),
            now: disk,
            operations: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Appends the operations of a run.
    pub fn add(&mut self, trace: &Trace) {
        for call in trace.calls_in(&self.root.clone()) {
            if let Some(operation) = self.read(call) {
                self.now.apply(&operation, IssueAction::Kept);
                self.operations.push(operation);
            }
        }
    }

    /// Checks that the model equals the tree on disk.
    pub fn is_true(&self) {
        let mut there = Disk::default();
        there.load(&self.root, Path::new(""));
        let known = |disk: &Disk| -> Vec<(PathBuf, Node)> {
            let files = disk.files().into_iter();
            files
                .map(|(path, (_, node))| (path, node))
                .filter(|(path, _)| !is_lock(path))
                .collect()
        };
        assert!(
            known(&there) == known(&self.now),
            "the model differs from the tree"
        );
    }

    /// A call as an operation; `None` where it failed or changed nothing.
    fn read(&self, call: &Call) -> Option<Operation> {
        let (arguments, result) = call.text.rsplit_once(" = ")?;
        // A sync that strace simulated did not take place.
        if result.starts_with(['-', '?']) || result.contains("INJECTED") {
            return None;
        }
        let opens = call.name.starts_with("open") && !arguments.contains("O_CREAT");
        let handle = match arguments.split_once('<') {
            _ if opens => {
                assert!(!arguments.contains("O_TRUNC"), "{call:?}");
                return None;
            }
            Some((_, handle)) => Path::new(handle.split_once('>')?.0),
            None => panic!("the model does not know {call:?}"),
        };
        // Others only have the root in their output.
        let Ok(handle) = handle.strip_prefix(&self.root) else {
            return None;
        };
        // The lock's content is for concurrent runs; after a power cut there are none.
        if is_lock(&self.root.join(handle)) {
            return None;
        }
        let handle = || handle.to_owned();
        let names = strings(arguments);
        let name = |at: usize| -> String {
            let name = String::from_utf8(names[at].clone()).unwrap();
            assert!(!name.contains('/'), "{call:?}");
            name
        };
        let node = || match self.now.find(&handle()) {
            Some(Entry::File(file)) => file,
            other => panic!("{other:?} in {call:?}"),
        };
        Some(match &*call.name {
            "openat" => {
                let (directory, name) = (handle(), name(0));
                if self.now.directories[&directory].contains_key(&name) {
                    return None;
                }
                let new = Entry::File(self.now.files.len());
                Operation::Names(directory, vec![(name, Some(new))])
            }
            "write" => {
                let node = node();
                let written: usize = result.trim().parse().unwrap();
                let bytes = names[0][..written].to_vec();
                Operation::Write(node, self.now.files[node].bytes.len(), bytes)
            }
            "fchmod" => {
                let mode = arguments.trim_end().rsplit_once(' ').unwrap().1;
                let mode = mode.trim_end_matches(')');
                Operation::Mode(node(), u32::from_str_radix(mode, 8).unwrap())
            }
            "fsync" | "fdatasync" => match self.now.find(&handle()) {
                Some(Entry::File(file)) => Operation::SyncFile(file),
                Some(Entry::Directory) => Operation::SyncDirectory(handle()),
                None => panic!("{call:?}"),
            },
            "renameat" | "renameat2" => {
                let (directory, from, to) = (handle(), name(0), name(1));
                let [a, b] = [&from, &to].map(|n| self.now.directories[&directory].get(n).cloned());
                let left = if arguments.contains("RENAME_EXCHANGE") {
                    b
                } else {
                    None
                };
                Operation::Names(directory, vec![(from, left), (to, a)])
            }
            "linkat" => {
                let (directory, from) = (handle(), name(0));
                let linked = self.now.directories[&directory].get(&from).cloned();
                Operation::Names(directory, vec![(name(1), linked)])
            }
            "unlinkat" => Operation::Names(handle(), vec![(name(0), None)]),
            "mkdirat" => Operation::Names(handle(), vec![(name(0), Some(Entry::Directory))]),
            _ => panic!("the model does not know {call:?}"),
        })
    }

    /// The states that a cut after the first `done` operations may leave: all of them if there are
    /// at most `limit` ways to lose something, else those where all, none, one, or all but one
    /// are lost, and others by chance up to the limit.
    pub fn cut(
        &self,
        done: usize,
        limit: usize,
        chance: &mut fastrand::Rng,
        mut seen: impl FnMut(Files),
    ) {
        let done = &self.operations[..done];
        let open: Vec<usize> = (0..done.len())
            .filter(|&at| {
                !is_sync(&done[at]) && !done[at..].iter().any(|later| done[at].is_synced_by(later))
            })
            .collect();
        let fates = |at: &usize| -> &[IssueAction] {
            match done[*at] {
                Operation::Write(..) => &[IssueAction::Lost, IssueAction::Kept, IssueAction::Torn],
                _ => &[IssueAction::Lost, IssueAction::Kept],
            }
        };
        let choices: Vec<&[IssueAction]> = open.iter().map(fates).collect();
        let ways = choices
            .iter()
            .try_fold(1_usize, |ways, fates| ways.checked_mul(fates.len()))
            .filter(|ways| *ways <= limit);
        let mut take = |fates: &[IssueAction]| seen(self.state(done, &open, fates));
        if let Some(ways) = ways {
            for mut way in 0..ways {
                let chosen = choices.iter().map(|fates| {
                    let fate = fates[way % fates.len()];
                    way /= fates.len();
                    fate
                });
                take(&chosen.collect::<Vec<_>>());
            }
            return;
        }
        for rest in [IssueAction::Lost, IssueAction::Kept] {
            take(&vec![rest; open.len()]);
            for at in 0..open.len() {
                for fate in choices[at] {
                    let mut chosen = vec![rest; open.len()];
                    chosen[at] = *fate;
                    take(&chosen);
                }
            }
        }
        for _ in 0..limit {
            let chosen = choices
                .iter()
                .map(|fates| fates[chance.usize(..fates.len())]);
            take(&chosen.collect::<Vec<_>>());
        }
    }

    fn state(&self, done: &[Operation], open: &[usize], fates: &[IssueAction]) -> Files {
        let mut disk = self.before.clone();
        for (at, operation) in done.iter().enumerate() {
            let fate = open.iter().position(|open| *open == at).map(|n| fates[n]);
            disk.apply(operation, fate.unwrap_or(IssueAction::Kept));
        }
        disk.files()
    }
}

fn is_sync(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::SyncDirectory(_) | Operation::SyncFile(_)
    )
}

impl Operation {
    fn is_synced_by(&self, later: &Self) -> bool {
        match (self, later) {
            (Self::Names(directory, _), Self::SyncDirectory(synced)) => directory == synced,
            (Self::Write(file, ..) | Self::Mode(file, _), Self::SyncFile(synced)) => file == synced,
            _ => false,
        }
    }
}

impl Disk {
    fn load(&mut self, root: &Path, directory: &Path) {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = directory.join(&name);
            let metadata = entry.path().symlink_metadata().unwrap();
            if metadata.is_dir() {
                // Only the files of git that a work tree needs; no images.
                let of_no_interest = directory == Path::new(".git") && name != "repin";
                if !of_no_interest && name != "images" && name != "origin.git" {
                    self.load(root, &path);
                    names.insert(name, Entry::Directory);
                }
            } else if directory != Path::new(".git") || name == "HEAD" {
                names.insert(name, Entry::File(self.files.len()));
                self.files.push(Node {
                    bytes: Rc::new(fs::read(entry.path()).unwrap()),
                    mode: metadata.permissions().mode() & 0o7777,
                });
            }
        }
        self.directories.insert(directory.to_owned(), names);
    }

    fn find(&self, path: &Path) -> Option<Entry> {
        match (path.parent(), path.file_name()) {
            (Some(directory), Some(name)) => self
                .directories
                .get(directory)?
                .get(name.to_str()?)
                .cloned(),
            _ => Some(Entry::Directory),
        }
    }

    fn apply(&mut self, operation: &Operation, fate: IssueAction) {
        match operation {
            Operation::Names(directory, names) => {
                for (name, entry) in names {
                    // The file exists independently of its name: numbers never change.
                    if let Some(Entry::File(file)) = entry {
                        while self.files.len() <= *file {
                            self.files.push(Node {
                                bytes: Rc::default(),
                                mode: 0o600,
                            });
                        }
                    }
                    if *entry == Some(Entry::Directory) {
                        self.directories.entry(directory.join(name)).or_default();
                    }
                    if fate == IssueAction::Lost {
                        continue;
                    }
                    let held = self.directories.get_mut(directory).unwrap();
                    match entry {
                        Some(entry) => held.insert(name.clone(), entry.clone()),
                        None => held.remove(name),
                    };
                }
            }
            Operation::Write(file, offset, bytes) if fate != IssueAction::Lost => {
                let held = Rc::make_mut(&mut self.files[*file].bytes);
                let end = offset + bytes.len();
                if held.len() < end {
                    held.resize(end, 0);
                }
                let whole = if fate == IssueAction::Kept {
                    bytes.len()
                } else {
                    bytes.len() / 2
                };
                held[*offset..offset + whole].copy_from_slice(&bytes[..whole]);
            }
            Operation::Mode(file, mode) if fate != IssueAction::Lost => {
                self.files[*file].mode = *mode;
            }
            _ => {}
        }
    }

    /// The files that are reachable from the root.
    fn files(&self) -> Files {
        let mut found = Files::new();
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            for (name, entry) in &self.directories[&directory] {
                let path = directory.join(name);
                match entry {
                    Entry::File(file) => _ = found.insert(path, (*file, self.files[*file].clone())),
                    Entry::Directory => directories.push(path),
                }
            }
        }
        found
    }
}

/// Writes a state into an empty directory.
pub fn materialise(files: &Files, root: &Path) {
    let mut names: HashMap<usize, PathBuf> = HashMap::new();
    for (path, (file, node)) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let Some(other) = names.get(file) {
            fs::hard_link(other, &path).unwrap();
            continue;
        }
        fs::write(&path, &*node.bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(node.mode)).unwrap();
        names.insert(*file, path);
    }
}

/// The strings among arguments as strace shows them, unescaped.
fn strings(text: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = text.bytes().peekable();
    while rest.any(|byte| byte == b'"') {
        let mut string = Vec::new();
        loop {
            match rest.next().expect("a closing quote") {
                b'"' => break,
                b'\\' => string.push(match rest.next().unwrap() {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    b'f' => 12,
                    digit @ b'0'..=b'7' => {
                        let mut value = digit - b'0';
                        for _ in 0..2 {
                            if let Some(digit) = rest.next_if(|byte| (b'0'..=b'7').contains(byte)) {
                                value = value * 8 + (digit - b'0');
                            }
                        }
                        value
                    }
                    other => other,
                }),
                other => string.push(other),
            }
        }
        found.push(string);
    }
    found
}
