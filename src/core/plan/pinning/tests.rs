use std::fs;

use super::*;

/// The content of a file whose images all get one digest, or the error.
fn pinned(file: &str, text: &str) -> Result<String, Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(file), text).unwrap();
    let (tree, path) = (WorkTree::new(dir.path()), RelPath::parse(file).unwrap());
    let digest = Digest::of(b"new");
    let found = unpinned::of_content(&tree, &path, text.as_bytes()).unwrap();
    let images: Vec<_> = found.iter().map(|image| (image, digest)).collect();
    let change = pin_file(&tree, &path, &images)?;
    let new = String::from_utf8(change.new).unwrap();
    Ok(new.replace(&digest.to_string(), "DIGEST"))
}

#[test]
fn digests_are_added_where_a_reader_expects_them() {
    for (file, old, new) in [
        (
            "compose.yaml",
            "services:\n  a: { image: a:1 } # x\n  b:\n    image: \"b\"\n  c:\n    image: ${C:-c:1}\n",
            "services:\n  a: { image: a:1@DIGEST } # x\n  b:\n    image: \"b@DIGEST\"\n  c:\n    image: ${C:-c:1@DIGEST}\n",
        ),
        (
            "w.yml",
            "jobs: { a: { container: node:22 } }\n",
            "jobs: { a: { container: node:22@DIGEST } }\n",
        ),
        (
            "kustomization.yaml",
            "images:\n  - name: app\n    newTag: v1 # x\n    newName: r.io/app\n  - newTag: v2\n    name: r.io/b",
            "images:\n  - name: app\n    newTag: v1 # x\n    digest: DIGEST\n    newName: r.io/app\n  - newTag: v2\n    digest: DIGEST\n    name: r.io/b",
        ),
        (
            "kustomization.yaml",
            "images:\r\n- name: r.io/a\r\n  newTag: \"1\"\r\n",
            "images:\r\n- name: r.io/a\r\n  newTag: \"1\"\r\n  digest: DIGEST\r\n",
        ),
        (
            "kustomization.yaml",
            "images: [{ name: r.io/a, newTag: v1 }]\n",
            "images: [{ name: r.io/a, newTag: v1, digest: \"DIGEST\" }]\n",
        ),
        (
            "values.yaml",
            "image:\n  repository: a/b\n  tag: v1",
            "image:\n  repository: a/b\n  tag: v1\n  digest: DIGEST",
        ),
        (
            "values.yaml",
            "image:\n  digest: \"\"\n  repository: a/b\n  tag: v1\n",
            "image:\n  digest: \"DIGEST\"\n  repository: a/b\n  tag: v1\n",
        ),
        (
            "a.yaml",
            "x: &i a/b:v1\nimage: *i\n",
            "x: &i a/b:v1@DIGEST\nimage: *i\n",
        ),
        (
            "values.yaml",
            "image: { digest: ~, repository: a/b, tag: v1 }\n",
            "image: { digest: DIGEST, repository: a/b, tag: v1 }\n",
        ),
        (
            "values.yaml",
            "a: { repository: x/y, tag: v1, side: { repository: x/z, tag: v2 }, digest: \"\" }\n",
            "a: { repository: x/y, tag: v1, side: { repository: x/z, tag: v2, digest: \"DIGEST\" }, digest: \"DIGEST\" }\n",
        ),
        (
            "values.yaml",
            "a:\n  repository: x/y\n  tag: v1\n  side: { digest: '', repository: x/z, tag: v2 }\n  more: { image: a/b:v1 }\n  digest: ~\n",
            "a:\n  repository: x/y\n  tag: v1\n  side: { digest: 'DIGEST', repository: x/z, tag: v2 }\n  more: { image: a/b:v1@DIGEST }\n  digest: DIGEST\n",
        ),
        (
            "Dockerfile",
            "ARG A=\"a:1\"\nFROM $A AS x\nFROM --platform=linux/amd64 b\nCOPY --from=c:2 / /\n",
            "ARG A=\"a:1@DIGEST\"\nFROM $A AS x\nFROM --platform=linux/amd64 b@DIGEST\nCOPY --from=c:2@DIGEST / /\n",
        ),
        (
            "Dockerfile",
            "\u{feff}FROM a:1\r\nRUN x\r\n",
            "\u{feff}FROM a:1@DIGEST\r\nRUN x\r\n",
        ),
    ] {
        assert_eq!(pinned(file, old).as_deref(), Ok(new), "{old}");
    }
}

#[test]
fn file_that_changed_since_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "image: a/b:v1\n").unwrap();
    let (tree, path) = (WorkTree::new(dir.path()), RelPath::parse("a.yaml").unwrap());
    let found = unpinned::of_content(&tree, &path, b"image: a/b:v1\n").unwrap();
    fs::write(dir.path().join("a.yaml"), "image: a/c:v1\n").unwrap();
    let error = pin_file(&tree, &path, &[(&found[0], Digest::of(b"new"))]).unwrap_err();
    assert_eq!(error.code, Code::CONFLICT);
}

#[test]
fn digests_at_one_place_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = "image: { repository: a/b, tag: v1, digest: ~ }\n";
    fs::write(dir.path().join("values.yaml"), text).unwrap();
    let (tree, path) = (
        WorkTree::new(dir.path()),
        RelPath::parse("values.yaml").unwrap(),
    );
    let found = unpinned::of_content(&tree, &path, text.as_bytes()).unwrap();
    let twice = [(&found[0], Digest::of(b"1")), (&found[0], Digest::of(b"2"))];
    let error = pin_file(&tree, &path, &twice).unwrap_err();
    assert_eq!(error.code, Code::PLAN_COUNT);
}

/// Each guard against a wrong insertion, on its own.
#[test]
fn wrong_insertions_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, path) = (WorkTree::new(dir.path()), RelPath::parse("a.yaml").unwrap());
    let old = "image: a/b:v1\nz: 1\n";
    let digest = Digest::of(b"new");
    let found = unpinned::of_content(&tree, &path, old.as_bytes()).unwrap();
    let UnpinnedKind::Pinnable(image) = &found[0].kind else {
        unreachable!("the reference is complete");
    };
    let start = "image: a/b:v1".len();
    let check = |new: String| {
        let added = AddedDigest {
            image,
            digest,
            new: start..start + 1 + digest.to_string().len(),
        };
        difference(&tree, &path, old.as_bytes(), new.as_bytes(), &[added], 0)
    };
    assert_eq!(check(format!("image: a/b:v1@{digest}\nz: 1\n")), None);
    let other = Digest::of(b"other");
    for new in [
        format!("image: a/b:v1 {digest}\nz: 1\n"),
        format!("image: a/b:v1@{other}\nz: 1\n"),
        format!("image: a/c:v1@{digest}\nz: 1\n"),
        format!("image: a/b:v2@{digest}\nz: 1\n"),
        format!("image: a/b:v1@{digest}\nz: 2\n"),
        format!("image: a/b:v1@{digest}\nz: 1\nimage2: c/d@{digest}\n"),
        format!("image: a/b:v1@{digest}\nz: {{ image: c/d:v1 }}\n"),
        format!("image: a/b:v1@{digest}\nz: [\n"),
    ] {
        assert!(check(new.clone()).is_some(), "{new}");
    }
}
