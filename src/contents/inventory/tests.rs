//! Gathering contents from trees. The judgment is tested in `checks`.

use super::*;
use crate::contents::layers::tests::{archive::Archive, layers, tree};

/// Parses the inventory block of a configuration.
pub(crate) fn inventory(block: &str) -> Inventory {
    let images = "images: {app: {repository: example.org/app, pins: 1}}";
    let block = block.replace('\n', "\n  ");
    let text = format!("version: 1\nfiles: [a]\n{images}\ninventory:\n  {block}\n");
    crate::config::example(&text).inventory.unwrap()
}

fn tar() -> Archive {
    Archive::new()
}

fn lines(files: &[File]) -> Vec<String> {
    files
        .iter()
        .map(|file| String::from_utf8_lossy(&file.path).into_owned())
        .collect()
}

fn inaccessible(archive: Archive, block: &str) -> Vec<String> {
    let listing = list(&tree(&[archive]), &inventory(block)).unwrap();
    listing
        .inaccessible
        .iter()
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect()
}

#[test]
fn only_regular_files_under_the_root_are_listed() {
    let tree = tree(&[tar()
        .file("opt/x/b", "")
        .file("opt/x/a/f", "")
        .hardlink("opt/x/h", "opt/x/b")
        .symlink("opt/x/link", "b")
        .symlink("opt/x/directory", "a")
        .device("opt/x/pipe")
        .file("opt/xy", "")
        .file("file", "")]);
    let listing = list(&tree, &inventory("root: /opt/x")).unwrap();
    assert_eq!(lines(&listing.files), ["a/f", "b", "h"]);
    assert_eq!(lines(&listing.directories), ["", "a"]);
    assert_eq!(list(&tree, &inventory("root: /")).unwrap().files.len(), 5);
}

#[test]
fn symlinked_root_is_resolved() {
    let tree = tree(&[tar()
        .file("data/f", "")
        .directory("opt")
        .symlink("opt/x", "/data")]);
    assert_eq!(
        lines(&list(&tree, &inventory("root: /opt/x")).unwrap().files),
        ["f"]
    );
}

#[test]
fn root_must_be_a_directory() {
    let tree = tree(&[tar().file("f", "").symlink("dangling", "x")]);
    let error = |root: &str| list(&tree, &inventory(&format!("root: {root}"))).unwrap_err();
    assert_eq!(error("/none"), ListError::NoRoot("/none".into()));
    assert_eq!(error("/dangling"), ListError::NoRoot("/dangling".into()));
    assert_eq!(error("/f"), ListError::NotADirectory("/f".into()));
}

#[test]
fn inaccessible_directories_are_listed_once() {
    let archive = |mode: u32| {
        let archive = tar()
            .owned(5, 6)
            .directory("r")
            .directory_of_mode("r/d", mode)
            .directory_of_mode("r/d/e", 0);
        archive
            .owned(0, 0)
            .file_of_mode("r/d/f", 0)
            .file_of_mode("r/g", 0o644)
    };
    for (mode, user, expected) in [
        (0o700, "5", &["/r/d/e"][..]),
        (0o070, "5", &["/r/d"]),
        (0o007, "5", &["/r/d"]),
        (0o070, "7:6", &["/r/d/e"]),
        (0o007, "7:6", &["/r/d"]),
        (0o007, "7", &["/r/d/e"]),
        (0o007, "6", &["/r/d/e"]),
        (0o774, "7", &["/r/d"]),
        (0o771, "7", &["/r/d"]),
        (0o000, "0", &[]),
        (0o000, "0:9", &[]),
    ] {
        assert_eq!(
            inaccessible(archive(mode), &format!("root: /r\nuser: \"{user}\"")),
            expected,
            "{mode:o} {user}"
        );
    }
    assert_eq!(
        inaccessible(archive(0), "root: /r"),
        [] as [&str; 0],
        "without a user, every directory is accessible"
    );
}

#[test]
fn parents_of_the_root_need_only_search_permission() {
    let archive = |mode: u32| {
        tar()
            .directory_of_mode("o", mode)
            .directory("o/r")
            .file("o/r/f", "")
            .symlink("l", "o/r")
    };
    for root in ["/o/r", "/l"] {
        let block = format!("root: {root}\nuser: \"7\"");
        assert_eq!(inaccessible(archive(0o711), &block), [] as [&str; 0]);
        assert_eq!(inaccessible(archive(0o710), &block), ["/o"]);
    }
    assert_eq!(
        inaccessible(
            tar().directory_of_mode("./", 0o700).file("r/f", ""),
            "root: /r\nuser: \"7\""
        ),
        ["/"]
    );
    assert_eq!(
        inaccessible(
            tar().directory_of_mode("r", 0o711).file("r/f", ""),
            "root: /r\nuser: \"7\""
        ),
        ["/r"]
    );
}

#[test]
fn unreadable_files_are_marked() {
    let archive = tar()
        .directory("r")
        .file_of_mode("r/a", 0o600)
        .file_of_mode("r/b", 0o604)
        .directory_of_mode("r/c", 0o700);
    let tree = tree(&[archive.file_of_mode("r/c/d", 0)]);
    let listing = list(&tree, &inventory("root: /r\nuser: \"7\"")).unwrap();
    let unreadable: Vec<_> = listing
        .files
        .into_iter()
        .filter(|file| file.is_unreadable)
        .map(|file| file.path)
        .collect();
    assert_eq!(
        unreadable,
        [b"a"],
        "files in an inaccessible directory are not marked"
    );
}

#[test]
fn user_names_are_resolved_in_the_image() {
    let passwd = "root:x:0:0::/:\nagent:x:1001:50::/:\nbad:x:y:z\n";
    let files = || {
        tar()
            .file("etc/passwd", passwd)
            .file("etc/group", "staff:x:50:\n")
            .owned(1001, 50)
    };
    let archive = || files().directory_of_mode("r", 0o750).file("r/f", "");
    assert_eq!(
        inaccessible(archive(), "root: /r\nuser: agent"),
        [] as [&str; 0]
    );
    assert_eq!(
        inaccessible(archive(), "root: /r\nuser: 9:staff"),
        [] as [&str; 0]
    );
    assert_eq!(inaccessible(archive(), "root: /r\nuser: \"9\""), ["/r"]);
    for (user, message) in [
        (
            "unknown",
            "the user `unknown` is not in the image's /etc/passwd",
        ),
        ("bad", "the user `bad` is not in the image's /etc/passwd"),
        (
            "9:wheel",
            "the user `wheel` is not in the image's /etc/group",
        ),
    ] {
        let error = list(
            &tree(&[archive()]),
            &inventory(&format!("root: /r\nuser: \"{user}\"")),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let error = list(
        &tree(&[tar().directory("r")]),
        &inventory("root: /r\nuser: agent"),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the user `agent` cannot be resolved: the image has no readable /etc/passwd"
    );
}

const KINDS: &str = "root: /r
kinds:
  agents: { paths: ['^agents/([^/]+)\\.md$', '^plugins/[^/]+/agents/([^/]+)\\.md$'] }
  skills: { paths: ['^skills/([^/]+)/'] }
  plugins: { paths: ['^plugins/([^/]+)/'] }";

fn enumeration() -> Enumeration {
    let archive = tar()
        .file("r/agents/z.md", "")
        .file("r/agents/B.md", "")
        .file("r/plugins/p/agents/z.md", "")
        .file("r/plugins/p/agents/a.md", "")
        .file(b"r/agents/\xff.md", "")
        .file("r/agents/sub/no.md", "")
        .directory("r/skills/empty")
        .file("agents/outside.md", "");
    let inventory = inventory(KINDS);
    Enumeration::from_listing(
        &list(&tree(&[archive]), &inventory).unwrap(),
        &inventory.kinds,
    )
}

#[test]
fn names_are_distinct_and_sorted_by_bytes() {
    let found = enumeration();
    assert_eq!(
        found.to_json(),
        r#"{"agents":["B","a","z","�"],"skills":[],"plugins":["p"]}"#
    );
    assert_eq!(
        found.not_utf8,
        [(b"agents/\xff.md".to_vec(), "agents/�".to_owned())]
    );
    assert!(!found.is_empty());
}

#[test]
fn document_is_parsed_strictly() {
    let kinds = inventory(KINDS).kinds;
    let parse = |text: &str| Enumeration::from_json("e.json", text.as_bytes(), &kinds);
    let text = r#"{"agents":["B","a"],"skills":[],"plugins":["p"]}"#;
    assert_eq!(parse(text).unwrap().to_json(), text);
    let other_order = r#" {"plugins":["p"], "agents":["a","B","a"],"skills":[]} "#;
    assert_eq!(parse(other_order).unwrap().to_json(), text);
    let hostile = r#"{"agents":["a\u001b[31m\u009b\u007f\u202e\"é"],"skills":[],"plugins":[]}"#;
    assert_eq!(parse(hostile).unwrap().to_json(), hostile);
    let errors = |text: &str| -> Vec<String> {
        let errors = parse(text).unwrap_err();
        errors
            .into_iter()
            .map(|error| format!("{} {}", error.code, error.message))
            .collect()
    };
    let parse_failed = "enumeration_json_parse_failed e.json: malformed JSON: ";
    let invalid_type = "enumeration_json_invalid_type e.json: ";
    for malformed in ["", "{", "{\"agents\":[]} x", "not json"] {
        assert!(
            errors(malformed)[0].starts_with(parse_failed),
            "{malformed:?}: {:?}",
            errors(malformed)
        );
    }
    for (text, expected) in [
        (
            r#"{"agents":"ops","plugins":[1,"p"]}"#,
            &[
                "`agents` is a string, not a list of names",
                "the kind `skills` is missing",
                "`plugins` lists a number, not a name",
            ][..],
        ),
        (
            r#"{"agents":[],"skills":null,"plugins":[],"agent":[]}"#,
            &[
                "`agent` is not a configured kind",
                "`skills` is null, not a list of names",
            ],
        ),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|line| format!("{invalid_type}{line}"))
            .collect();
        assert_eq!(errors(text), expected);
    }
    assert_eq!(
        errors(r#"{"agents":[],"skills":[],"plugins":[],"agents":["x"]}"#),
        ["enumeration_json_parse_failed e.json: duplicate key `agents`"]
    );
    for array in ["[]", r#"["agents"]"#, "3", "null", "\"agents\""] {
        assert!(
            errors(array)[0].starts_with(invalid_type),
            "{array}: {:?}",
            errors(array)
        );
    }
}

fn forbidden(archives: &[Archive], block: &str) -> Vec<String> {
    let contents = gather(&layers(archives), &inventory(block)).unwrap();
    let describe = |file: &ForbiddenFile| {
        let hidden = if file.is_visible { "" } else { " hidden" };
        format!(
            "{}@{}{hidden}",
            String::from_utf8_lossy(&file.path),
            file.layer
        )
    };
    contents.forbidden.iter().map(describe).collect()
}

#[test]
fn forbidden_files_are_found_in_every_layer() {
    let block = "root: /r\nforbidden_files: [\"*.token\", .netrc, \"sub/*.pem\"]";
    let archives = [
        tar()
            .file("r/.netrc", "1")
            .file("r/a/b.token", "")
            .file("r/sub/x.pem", "")
            .file("r/x.pem", ""),
        tar()
            .file("r/.wh..netrc", "")
            .file("r/a/.wh..wh..opq", "")
            .file(".netrc", "")
            .file("rr/.netrc", ""),
        tar()
            .file("r/d/.netrc", "")
            .symlink("r/e.token", "x")
            .directory("r/f.token")
            .device("r/g.token"),
        tar()
            .file("r/h.token", "")
            .file("r/h.token", "")
            .hardlink("r/i.token", "r/x.pem"),
        tar().file("r/h.token", ""),
    ];
    assert_eq!(
        forbidden(&archives, block),
        [
            "r/.netrc@1 hidden",
            "r/a/b.token@1 hidden",
            "r/d/.netrc@3",
            "r/h.token@4 hidden",
            "r/h.token@5",
            "r/i.token@4",
            "r/sub/x.pem@1"
        ]
    );
    assert_eq!(
        forbidden(&archives[..2], "root: /\nforbidden_files: [.netrc]"),
        [".netrc@2", "r/.netrc@1 hidden", "rr/.netrc@2"]
    );
}

#[test]
fn forbidden_files_are_found_through_symlinks() {
    let block = "root: /r\nforbidden_files: [.netrc, \"sub/x\"]";
    let through = [
        tar().directory("r").symlink("l", "r"),
        tar().file("l/.netrc", ""),
        tar().file("l/.wh..netrc", ""),
    ];
    assert_eq!(forbidden(&through, block), ["r/.netrc@2 hidden"]);
    let root = [
        tar().file("data/.netrc", "").file("data/sub/x", ""),
        tar().file("data/.wh..netrc", "").symlink("r", "data"),
    ];
    assert_eq!(
        forbidden(&root, block),
        ["data/.netrc@1 hidden", "data/sub/x@1"]
    );
    let was = [
        tar().file("r/.netrc", ""),
        tar().symlink("r", "data").file("data/f", ""),
    ];
    assert_eq!(forbidden(&was, block), ["r/.netrc@1 hidden"]);
}

#[test]
fn embedded_contract_is_found_through_links() {
    let block = "embedded_contract: /etc/expected.yaml";
    let copy = |archive: Archive| {
        gather(&layers(&[archive]), &inventory(block))
            .unwrap()
            .embedded_contract
            .unwrap()
    };
    let text = "twenty bytes of text";
    let content = EmbeddedContract::Content(text.as_bytes().into());
    assert_eq!(copy(tar().file("etc/expected.yaml", text)), content);
    assert_eq!(
        copy(
            tar()
                .file("x", text)
                .directory("etc")
                .hardlink("etc/expected.yaml", "x")
        ),
        content
    );
    assert_eq!(
        copy(
            tar()
                .file("x", text)
                .directory("etc")
                .symlink("etc/expected.yaml", "../x")
        ),
        content
    );
    assert_eq!(
        copy(tar().file("etc/expected.yaml", "shorter")),
        EmbeddedContract::Other
    );
    assert_eq!(
        copy(tar().directory("etc/expected.yaml")),
        EmbeddedContract::NotAFile
    );
    assert_eq!(copy(tar()), EmbeddedContract::Missing);
}

#[test]
fn content_filter_selects_only_needed_files() {
    let selected = |block: &str| {
        let filter = content_filter(&inventory(block), &[7]);
        let names = filter
            .names
            .into_iter()
            .map(|name| String::from_utf8(name).unwrap())
            .collect::<Vec<_>>();
        (names.join(" "), filter.lengths)
    };
    assert_eq!(
        selected("root: /r\nuser: \"1001:0\""),
        (String::new(), vec![])
    );
    assert_eq!(
        selected("user: agent\nembedded_contract: /etc/e.yaml"),
        ("passwd group e.yaml".into(), vec![7])
    );
}
