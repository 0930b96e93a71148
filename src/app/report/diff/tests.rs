//! Tests of diffs with `git apply` and `patch`.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;

use super::*;
use crate::{base::files::RelPath, oci::Digest};

fn change(path: &Path, old: &[u8], new: &[u8]) -> FileChange {
    FileChange {
        path: RelPath::new(path).unwrap(),
        pins: 1,
        old: old.to_vec(),
        new: new.to_vec(),
        old_sha256: Digest::of(old),
        new_sha256: Digest::of(new),
    }
}

/// Applies the diff to the old files with a program, and compares the result with the new files.
fn applies(program: &str, args: &[&str], changes: &[FileChange]) {
    let dir = tempfile::tempdir().unwrap();
    for change in changes {
        let path = dir.path().join(change.path.as_path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &change.old).unwrap();
    }
    let mut child = Command::new(program)
        .args(args)
        .current_dir(dir.path())
        .env("GIT_CEILING_DIRECTORIES", dir.path().parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&unified(changes))
        .unwrap();
    assert!(
        child.wait().unwrap().success(),
        "{program}: {}",
        String::from_utf8_lossy(&unified(changes))
    );
    for change in changes {
        assert_eq!(
            fs::read(dir.path().join(change.path.as_path())).unwrap(),
            change.new,
            "{program} {}",
            change.path
        );
    }
}

fn applies_everywhere(changes: &[FileChange]) {
    applies("git", &["apply", "-"], changes);
    applies("patch", &["-p1", "--silent", "--binary"], changes);
}

#[test]
fn diff_has_unified_format() {
    let old = "1\n2\n3\n4\nold a\n6\n7\n8\n9\n10\n11\n12\n13\nold b";
    let diff = unified(&[change(
        Path::new("a/x.yml"),
        old.as_bytes(),
        old.replace("old", "new").as_bytes(),
    )]);
    insta::assert_snapshot!(String::from_utf8(diff).unwrap(), @r"
    --- a/a/x.yml
    +++ b/a/x.yml
    @@ -2,7 +2,7 @@
     2
     3
     4
    -old a
    +new a
     6
     7
     8
    @@ -11,4 +11,4 @@
     11
     12
     13
    -old b
    \ No newline at end of file
    +new b
    \ No newline at end of file
    ");
}

#[test]
fn diff_of_unusual_names_and_contents_applies() {
    use std::os::unix::ffi::OsStrExt;
    let names: [&[u8]; 7] = [
        b"plain.yml",
        b"with space.yml",
        b"dir with space/a b.yml",
        b"tab\there.yml",
        "\u{e4}.yml".as_bytes(),
        b"quo\"te\\.yml",
        b"-x.yml",
    ];
    let contents: [(&[u8], &[u8]); 5] = [
        (b"old", b"new"),
        (
            b"\xef\xbb\xbfa\r\nold\r\nb\r\n",
            b"\xef\xbb\xbfa\r\nnew\r\nb\r\n",
        ),
        (b"\xff\xfe old \n\n\n", b"\xff\xfe new \n\n\n"),
        (b"a\n\nold\n\nold\n", b"a\n\nnew\n\nnew\n"),
        (
            b"old\n+++ b\n--- a\n@@ -1 +1 @@\n",
            b"new\n+++ b\n--- a\n@@ -1 +1 @@\n",
        ),
    ];
    for (old, new) in contents {
        let changes: Vec<_> = names
            .iter()
            .map(|name| change(Path::new(std::ffi::OsStr::from_bytes(name)), old, new))
            .collect();
        applies_everywhere(&changes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn random_files_apply(lines in proptest::collection::vec(prop_oneof!["[a-c]{0,2}", Just("OLD".to_owned())], 1..60), last in any::<bool>()) {
        let mut old = lines.join("\n");
        if last { old.push('\n'); }
        prop_assume!(old.contains("OLD"));
        let new = old.replace("OLD", "NEW");
        applies_everywhere(&[change(Path::new("f.yml"), old.as_bytes(), new.as_bytes())]);
    }
}
