//! Repositories of unit tests.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
};

use super::{Git, ObjectId, Remote};

/// The output of git in `directory`, without the user's configuration.
pub(crate) fn git(directory: &Path, args: &[&str]) -> Vec<u8> {
    printed(command(directory).args(args))
}

fn command(directory: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .args(["-c", "user.name=A", "-c", "user.email=a@b"]);
    git
}

fn printed(git: &mut Command) -> Vec<u8> {
    let output = git.output().unwrap();
    assert!(output.status.success(), "{git:?}: {output:?}");
    output.stdout
}

/// A repository on this machine, as on a server.
pub(super) fn remote(server: &Path) -> Remote {
    Remote {
        url: format!("file://{}", server.display()),
        login: None,
    }
}

/// Creates a repository with the empty tree.
pub(crate) fn repository(root: &Path) {
    git(root, &["init", "-q"]);
    git(root, &["mktree"]);
}

/// Makes a commit with the empty tree, and returns its id.
pub(crate) fn commit_at(root: &Path, seconds: u64, parents: &[&str]) -> String {
    let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    let mut git = command(root);
    git.env("GIT_AUTHOR_DATE", "@0 +0000")
        .env("GIT_COMMITTER_DATE", format!("@{seconds} +0000"))
        .args(["commit-tree", "-m", "subject", tree]);
    for parent in parents {
        git.args(["-p", parent]);
    }
    String::from_utf8(printed(&mut git).trim_ascii().to_vec()).unwrap()
}

/// The id of an object.
pub(super) fn id(directory: &Path, name: &str) -> ObjectId {
    let printed = git(directory, &["rev-parse", name]);
    ObjectId::parse(printed.trim_ascii()).unwrap()
}

/// The URL of a repository on a server that answers every request with `body`, until the test ends.
pub(crate) fn answering(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all((head + body).as_bytes()).unwrap();
        }
    });
    format!("http://127.0.0.1:{port}/a/b.git")
}

#[test]
fn ancestors_and_parents_are_those_of_present_commits() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    repository(root);
    let first = commit_at(root, 1, &[]);
    let second = commit_at(root, 2, &[&first]);
    let merge = commit_at(root, 3, &[&second, &first]);
    let git = Git::open(root).unwrap();
    let parse = |id: &str| ObjectId::parse(id.as_bytes()).unwrap();
    let [first, second, merge] = [&first, &second, &merge].map(|id| parse(id));
    for (older, newer, expected) in [
        (first, first, true),
        (first, merge, true),
        (merge, first, false),
    ] {
        assert_eq!(git.is_ancestor(&older, &newer).unwrap(), expected);
    }
    for (commit, parent) in [(first, None), (second, Some(first)), (merge, None)] {
        assert_eq!(git.only_parent(&commit).unwrap(), parent);
    }
    let missing = parse(&"a".repeat(40));
    assert!(git.is_ancestor(&missing, &missing).is_err());
    assert!(git.only_parent(&missing).is_err());
}
