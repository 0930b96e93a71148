//! The bare repository of a simulated forge, which `git http-backend` serves. Its objects (SHA-1) are read and
//! written without the program.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, LazyLock, OnceLock},
};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use sha1::{Digest as _, Sha1};

use super::{
    Asked, Reply,
    store::{CommitRow, Files},
};

/// The id of a blob (git-hash-object).
pub fn blob_id(content: &[u8]) -> String {
    object_id("blob", content)
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

/// A repository, in a temporary directory.
pub struct Repository {
    directory: tempfile::TempDir,
    /// The directories of objects that other repositories have.
    borrowed: Vec<PathBuf>,
    /// What was read; objects never change.
    commits: RefCell<HashMap<String, CommitRow>>,
    trees: RefCell<HashMap<String, Arc<Files>>>,
}

impl Repository {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for path in ["objects/info", "refs/heads"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        // What is pushed is kept in loose objects.
        let config = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[http]\n\treceivepack = true\n[uploadpack]\n\tallowFilter = true\n[receive]\n\tautogc = false\n\tunpackLimit = 1000000\n";
        fs::write(directory.path().join("config"), config).unwrap();
        Self {
            directory,
            borrowed: Vec::new(),
            commits: RefCell::default(),
            trees: RefCell::default(),
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes an object unless it is there.
    pub fn write(&self, kind: &str, content: &[u8]) -> String {
        let id = object_id(kind, content);
        let directory = self.path().join("objects").join(&id[..2]);
        let path = directory.join(&id[2..]);
        if path.exists() {
            return id;
        }
        fs::create_dir_all(directory).unwrap();
        let mut object = ZlibEncoder::new(Vec::new(), Compression::fast());
        object
            .write_all(format!("{kind} {}\0", content.len()).as_bytes())
            .unwrap();
        object.write_all(content).unwrap();
        fs::write(path, object.finish().unwrap()).unwrap();
        id
    }

    /// Writes the trees of files (git-mktree).
    pub fn write_tree(&self, files: &Files) -> String {
        let files: Vec<_> = files.iter().map(|(path, file)| (&**path, file)).collect();
        self.write_directory(&files)
    }

    fn write_directory(&self, files: &[(&str, &(String, String))]) -> String {
        // Git compares the name of a directory with a trailing slash.
        let mut rows = BTreeMap::new();
        let mut directories = BTreeMap::<&str, Vec<_>>::new();
        for (path, file) in files {
            if let Some((name, below)) = path.split_once('/') {
                directories.entry(name).or_default().push((below, *file));
            } else {
                let mode = file.0.trim_start_matches('0');
                rows.insert((*path).to_owned(), row(mode, path, &file.1));
            }
        }
        for (name, files) in directories {
            let id = self.write_directory(&files);
            rows.insert(format!("{name}/"), row("40000", name, &id));
        }
        let content = rows.into_values().flatten().collect::<Vec<_>>();
        self.write("tree", &content)
    }

    /// Writes a commit (git-commit-tree), made at a time in seconds after the start of 2026.
    pub fn write_commit(&self, row: &CommitRow, time: u64) -> String {
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
        self.write("commit", text.as_bytes())
    }

    /// The content of an object of this kind; `None` if there is none.
    pub fn read(&self, kind: &str, id: &str) -> Option<Vec<u8>> {
        if id.len() != 40 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let own = self.path().join("objects");
        let loose = [&own].into_iter().chain(&self.borrowed);
        let mut loose = loose.map(|objects| objects.join(&id[..2]).join(&id[2..]));
        let Some(object) = loose.find_map(|path| fs::read(path).ok()) else {
            return self.read_packed(kind, id);
        };
        let mut content = Vec::new();
        ZlibDecoder::new(&*object)
            .read_to_end(&mut content)
            .unwrap();
        let end = content.iter().position(|byte| *byte == 0).unwrap();
        let is_wanted = content.starts_with(format!("{kind} ").as_bytes());
        is_wanted.then(|| content.split_off(end + 1))
    }

    /// The same from a pack, which only a borrowed repository has.
    fn read_packed(&self, kind: &str, id: &str) -> Option<Vec<u8>> {
        if self.borrowed.is_empty() {
            return None;
        }
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(self.path());
        let output = git.args(["cat-file", kind, id]).output().unwrap();
        output.status.success().then_some(output.stdout)
    }

    pub fn commit(&self, id: &str) -> Option<CommitRow> {
        if let Some(row) = self.commits.borrow().get(id) {
            return Some(row.clone());
        }
        let content = String::from_utf8(self.read("commit", id)?).unwrap();
        let (headers, message) = content.split_once("\n\n").unwrap();
        let values = |name: &str| -> Vec<String> {
            let values = headers.lines().filter_map(|line| line.strip_prefix(name));
            values.map(str::to_owned).collect()
        };
        let row = CommitRow {
            tree: values("tree ").remove(0),
            parents: values("parent "),
            message: message.to_owned(),
        };
        self.commits.borrow_mut().insert(id.to_owned(), row.clone());
        Some(row)
    }

    /// The files of a tree.
    pub fn files(&self, tree: &str) -> Option<Arc<Files>> {
        if let Some(files) = self.trees.borrow().get(tree) {
            return Some(Arc::clone(files));
        }
        let mut files = Files::new();
        let mut open = vec![(String::new(), tree.to_owned())];
        while let Some((above, tree)) = open.pop() {
            for (mode, name, id) in rows(&self.read("tree", &tree)?) {
                let (path, id) = (format!("{above}{name}"), hex::encode(id));
                if mode == "40000" {
                    open.push((path + "/", id));
                } else {
                    files.insert(path, (mode.to_owned(), id));
                }
            }
        }
        let files = Arc::new(files);
        self.trees
            .borrow_mut()
            .insert(tree.to_owned(), Arc::clone(&files));
        Some(files)
    }

    /// The repository also has these objects.
    pub fn borrow(&mut self, objects: PathBuf) {
        self.borrowed.push(objects);
        let mut lines = String::new();
        for path in &self.borrowed {
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

/// The mode, the name and the id of each entry of a tree.
fn rows(mut rest: &[u8]) -> impl Iterator<Item = (&str, &str, &[u8])> {
    std::iter::from_fn(move || {
        let end = memchr::memchr(0, rest)?;
        let (mode, name) = std::str::from_utf8(&rest[..end]).unwrap().split_once(' ')?;
        let (id, following) = rest[end + 1..].split_at(20);
        rest = following;
        Some((mode, name, id))
    })
}

/// An entry of a tree.
fn row(mode: &str, name: &str, id: &str) -> Vec<u8> {
    let mut row = format!("{mode} {name}\0").into_bytes();
    row.extend(hex::decode(id).unwrap());
    row
}
