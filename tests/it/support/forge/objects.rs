//! Git's objects (SHA-1): their ids, computed without the program, and a bare repository of them that
//! `git http-backend` serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{LazyLock, OnceLock},
};

use flate2::{Compression, write::ZlibEncoder};
use sha1::{Digest as _, Sha1};

use super::{
    Asked, Reply,
    store::{CommitRow, Files},
};

/// The id of a blob (git-hash-object).
pub fn blob_id(content: &[u8]) -> String {
    object_id("blob", content)
}

/// The id of a tree (git-mktree); `None` if the id of a file is malformed.
pub fn tree_id(files: &Files) -> Option<String> {
    tree(files, &mut |_| ())
}

/// The same, with the content of each directory.
fn tree(files: &Files, visit: &mut dyn FnMut(&[u8])) -> Option<String> {
    let files: Vec<_> = files.iter().map(|(path, file)| (&**path, file)).collect();
    directory(&files, visit)
}

/// The content of a commit (git-commit-tree), made at a time in seconds after the start of 2026.
pub fn commit(row: &CommitRow, time: u64) -> Vec<u8> {
    let mut text = format!("tree {}\n", row.tree);
    for parent in &row.parents {
        text.extend(["parent ", parent, "\n"]);
    }
    let person = format!("Ada <ada@example.com> {} +0000", 1_767_225_600 + time);
    text.extend([
        "author ",
        &person,
        "\ncommitter ",
        &person,
        "\n\n",
        &row.message,
    ]);
    text.into_bytes()
}

pub fn commit_id(content: &[u8]) -> String {
    object_id("commit", content)
}

fn directory(files: &[(&str, &(String, String))], visit: &mut dyn FnMut(&[u8])) -> Option<String> {
    // Git compares the name of a directory with a trailing slash.
    let mut rows = BTreeMap::new();
    let mut directories = BTreeMap::<&str, Vec<_>>::new();
    for (path, file) in files {
        if let Some((name, below)) = path.split_once('/') {
            directories.entry(name).or_default().push((below, *file));
        } else {
            let mode = file.0.trim_start_matches('0');
            rows.insert((*path).to_owned(), row(mode, path, &file.1)?);
        }
    }
    for (name, files) in directories {
        rows.insert(
            format!("{name}/"),
            row("40000", name, &directory(&files, visit)?)?,
        );
    }
    let content = rows.into_values().flatten().collect::<Vec<_>>();
    visit(&content);
    Some(object_id("tree", &content))
}

fn row(mode: &str, name: &str, id: &str) -> Option<Vec<u8>> {
    let id = hex::decode(id).ok().filter(|id| id.len() == 20)?;
    let mut row = format!("{mode} {name}\0").into_bytes();
    row.extend(id);
    Some(row)
}

fn object_id(kind: &str, content: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("{kind} {}\0", content.len()));
    hash.update(content);
    hex::encode(hash.finalize())
}

/// The program `git http-backend`, which git would start.
static BACKEND: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = Command::new("git").arg("--exec-path").output();
    let path = String::from_utf8(path.unwrap().stdout).unwrap();
    Path::new(path.trim_end()).join("git-http-backend")
});

static ADVERTISED: OnceLock<Vec<u8>> = OnceLock::new();

/// A bare repository of the objects that a forge keeps.
pub struct Repository {
    directory: tempfile::TempDir,
    written: BTreeSet<String>,
}

impl Repository {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for path in ["objects/info", "refs/heads"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        let config = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[http]\n\treceivepack = true\n[uploadpack]\n\tallowFilter = true\n[receive]\n\tautogc = false\n";
        fs::write(directory.path().join("config"), config).unwrap();
        Self {
            directory,
            written: BTreeSet::new(),
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes an object unless it was written before.
    pub fn write(&mut self, kind: &str, content: &[u8]) {
        let id = object_id(kind, content);
        if !self.written.insert(id.clone()) {
            return;
        }
        let path = self.path().join("objects").join(&id[..2]);
        fs::create_dir_all(&path).unwrap();
        let mut object = ZlibEncoder::new(Vec::new(), Compression::fast());
        object
            .write_all(format!("{kind} {}\0", content.len()).as_bytes())
            .unwrap();
        object.write_all(content).unwrap();
        fs::write(path.join(&id[2..]), object.finish().unwrap()).unwrap();
    }

    /// Writes the directories of a tree.
    pub fn write_tree(&mut self, files: &Files) {
        let mut contents = Vec::new();
        tree(files, &mut |content| contents.push(content.to_vec()));
        for content in contents {
            self.write("tree", &content);
        }
    }

    /// The repository also has the objects of these.
    pub fn borrow(&self, others: &BTreeSet<PathBuf>) {
        let mut lines = String::new();
        for path in others {
            lines.extend([path.to_str().unwrap(), "\n"]);
        }
        fs::write(self.path().join("objects/info/alternates"), lines).unwrap();
    }

    /// Replaces all references.
    pub fn write_refs(&self, refs: &BTreeMap<String, String>, default: &str) {
        let _ = fs::remove_dir_all(self.path().join("refs"));
        fs::create_dir_all(self.path().join("refs/heads")).unwrap();
        let mut lines = String::new();
        for (name, id) in refs {
            lines.extend([id, " ", name, "\n"]);
        }
        let header = "# pack-refs with: sorted \n";
        fs::write(self.path().join("packed-refs"), format!("{header}{lines}")).unwrap();
        fs::write(
            self.path().join("HEAD"),
            format!("ref: refs/heads/{default}\n"),
        )
        .unwrap();
    }

    /// The branches by their short names.
    pub fn branches(&self) -> BTreeMap<String, String> {
        let packed = fs::read_to_string(self.path().join("packed-refs")).unwrap_or_default();
        let rows = packed
            .lines()
            .filter_map(|line| line.split_once(" refs/heads/"));
        let mut found: BTreeMap<_, _> = rows
            .map(|(id, name)| (name.to_owned(), id.to_owned()))
            .collect();
        let top = self.path().join("refs/heads");
        let mut open = vec![top.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if let Ok(id) = fs::read_to_string(&path) {
                    let name = path.strip_prefix(&top).unwrap().to_str().unwrap();
                    found.insert(name.to_owned(), id.trim_end().to_owned());
                }
            }
        }
        found
    }

    /// Reads what was pushed.
    pub fn objects(&self) -> Objects {
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(self.path());
        git.args(["cat-file", "--batch"]);
        git.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = git.spawn().unwrap();
        Objects {
            input: process.stdin.take(),
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    /// Answers a request of git. `service`: the path after that of the repository.
    pub fn serve(&self, asked: &Asked, service: &str) -> Reply {
        let query = asked.target.split_once('?').map_or("", |(_, query)| query);
        // In version 2 of the protocol, the advertisement is the same for every repository.
        let is_advertised = service == "info/refs"
            && query == "service=git-upload-pack"
            && asked.header("git-protocol") == Some("version=2");
        if is_advertised {
            return reply(ADVERTISED.get_or_init(|| self.run(asked, service, query)));
        }
        reply(&self.run(asked, service, query))
    }

    fn run(&self, asked: &Asked, service: &str, query: &str) -> Vec<u8> {
        let mut backend = Command::new(&*BACKEND);
        backend
            .env("GIT_PROJECT_ROOT", self.path().parent().unwrap())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REMOTE_USER", "repin")
            .env("REQUEST_METHOD", &asked.method)
            .env("QUERY_STRING", query)
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*");
        let name = self.path().file_name().unwrap().to_str().unwrap();
        backend.env("PATH_INFO", format!("/{name}/{service}"));
        for (header, variable) in [
            ("content-type", "CONTENT_TYPE"),
            ("content-encoding", "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "GIT_PROTOCOL"),
        ] {
            if let Some(value) = asked.header(header) {
                backend.env(variable, value);
            }
        }
        backend.env("CONTENT_LENGTH", asked.bytes.len().to_string());
        backend
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut running = backend.spawn().unwrap();
        let (mut stdin, bytes) = (running.stdin.take().unwrap(), asked.bytes.clone());
        let writer = std::thread::spawn(move || stdin.write_all(&bytes));
        let output = running.wait_with_output().unwrap().stdout;
        let _ = writer.join();
        output
    }
}

fn reply(output: &[u8]) -> Reply {
    let end = output
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let mut reply = Reply {
        status: 200,
        headers: Vec::new(),
        body: output[end + 4..].to_vec(),
    };
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "status" => reply.status = value[..3].parse().unwrap(),
            name => reply = reply.with(name, value),
        }
    }
    reply
}

/// A process that reads objects.
pub struct Objects {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Objects {
    fn read(&mut self, id: &str) -> Vec<u8> {
        writeln!(self.input.as_mut().unwrap(), "{id}").unwrap();
        let mut header = String::new();
        self.output.read_line(&mut header).unwrap();
        let size = header.trim_end().rsplit(' ').next().unwrap().parse();
        let mut content = vec![0; size.unwrap_or_else(|_| panic!("{header}"))];
        self.output.read_exact(&mut content).unwrap();
        self.output.read_exact(&mut [0]).unwrap();
        content
    }

    /// The commits that `tip` has in addition to those of `known`, the oldest first.
    pub fn commits(&mut self, tip: &str, known: &dyn Fn(&str) -> bool) -> Vec<(String, CommitRow)> {
        let (mut open, mut found) = (vec![tip.to_owned()], Vec::new());
        while let Some(id) = open.pop() {
            if known(&id) || found.iter().any(|(one, _)| *one == id) {
                continue;
            }
            let content = String::from_utf8_lossy(&self.read(&id)).into_owned();
            let (headers, message) = content.split_once("\n\n").unwrap();
            let values = |name: &str| -> Vec<String> {
                let lines = headers.lines();
                lines
                    .filter_map(|line| Some(line.strip_prefix(name)?.to_owned()))
                    .collect()
            };
            let parents = values("parent ");
            open.extend(parents.iter().cloned());
            let row = CommitRow {
                tree: values("tree ").remove(0),
                parents,
                message: message.to_owned(),
            };
            found.push((id, row));
        }
        found.reverse();
        found
    }

    /// The files of a tree, and the contents that are not known.
    pub fn files(&mut self, tree: &str, known: &dyn Fn(&str) -> bool) -> (Files, Vec<Vec<u8>>) {
        let (mut files, mut contents) = (Files::new(), Vec::new());
        let mut open = vec![(String::new(), tree.to_owned())];
        while let Some((above, tree)) = open.pop() {
            let content = self.read(&tree);
            let mut rest = content.as_slice();
            while let Some(end) = rest.iter().position(|byte| *byte == 0) {
                let entry = std::str::from_utf8(&rest[..end]).unwrap();
                let (mode, name) = entry.split_once(' ').unwrap();
                let (id, path) = (
                    hex::encode(&rest[end + 1..end + 21]),
                    format!("{above}{name}"),
                );
                rest = &rest[end + 21..];
                if mode == "40000" {
                    open.push((path + "/", id));
                    continue;
                }
                // The content of a submodule is not here.
                if mode != "160000" && !known(&id) {
                    contents.push(self.read(&id));
                }
                files.insert(path, (mode.to_owned(), id));
            }
        }
        (files, contents)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}
