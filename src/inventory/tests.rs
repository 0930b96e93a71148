//! What is gathered from trees; how it is judged is tested in `checks`.

use super::*;
use crate::{
    config::parse,
    error::SourceText,
    layers::tests::{archive::Archive, layers, tree},
};

/// An inventory block of a configuration.
pub(crate) fn inventory(block: &str) -> Inventory {
    let images = "images: {app: {repository: example.org/app, pins: 1}}";
    let block = block.replace('\n', "\n  ");
    let text = format!("version: 1\nfiles: [a]\n{images}\ninventory:\n  {block}\n");
    let source = SourceText {
        name: "repin.yaml".into(),
        text: text.into(),
    };
    parse(&source, Path::new("/")).unwrap().inventory.unwrap()
}

fn a() -> Archive {
    Archive::new()
}

fn lines(files: &[File]) -> Vec<String> {
    files
        .iter()
        .map(|file| String::from_utf8_lossy(&file.path).into_owned())
        .collect()
}

fn closed(archive: Archive, block: &str) -> Vec<String> {
    let listing = list(&tree(&[archive]), &inventory(block)).unwrap();
    listing
        .closed
        .iter()
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect()
}

#[test]
fn only_regular_files_under_the_root_are_listed() {
    let tree = tree(&[a()
        .file("opt/x/b", "")
        .file("opt/x/a/f", "")
        .hardlink("opt/x/h", "opt/x/b")
        .symlink("opt/x/link", "b")
        .symlink("opt/x/directory", "a")
        .device("opt/x/pipe")
        .file("opt/xy", "")
        .file("elsewhere", "")]);
    let listing = list(&tree, &inventory("root: /opt/x")).unwrap();
    assert_eq!(lines(&listing.files), ["a/f", "b", "h"]);
    assert_eq!(lines(&listing.directories), ["", "a"]);
    assert_eq!(list(&tree, &inventory("root: /")).unwrap().files.len(), 5);
}

#[test]
fn a_root_behind_a_symlink_is_the_directory_that_it_points_to() {
    let tree = tree(&[a()
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
    let tree = tree(&[a().file("f", "").symlink("dangling", "x")]);
    let error = |root: &str| list(&tree, &inventory(&format!("root: {root}"))).unwrap_err();
    assert_eq!(error("/none"), ListError::NoRoot("/none".into()));
    assert_eq!(error("/dangling"), ListError::NoRoot("/dangling".into()));
    assert_eq!(error("/f"), ListError::NotADirectory("/f".into()));
}

#[test]
fn directories_that_the_user_can_t_list_or_enter_are_named_once() {
    let made = |mode: u32| {
        let archive = a()
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
            closed(made(mode), &format!("root: /r\nuser: \"{user}\"")),
            expected,
            "{mode:o} {user}"
        );
    }
    assert_eq!(
        closed(made(0), "root: /r"),
        [] as [&str; 0],
        "no user: everything is open"
    );
}

#[test]
fn directories_above_the_root_only_have_to_be_searched() {
    let made = |mode: u32| {
        a().directory_of_mode("o", mode)
            .directory("o/r")
            .file("o/r/f", "")
            .symlink("l", "o/r")
    };
    for root in ["/o/r", "/l"] {
        let block = format!("root: {root}\nuser: \"7\"");
        assert_eq!(closed(made(0o711), &block), [] as [&str; 0]);
        assert_eq!(closed(made(0o710), &block), ["/o"]);
    }
    assert_eq!(
        closed(
            a().directory_of_mode("./", 0o700).file("r/f", ""),
            "root: /r\nuser: \"7\""
        ),
        ["/"]
    );
    assert_eq!(
        closed(
            a().directory_of_mode("r", 0o711).file("r/f", ""),
            "root: /r\nuser: \"7\""
        ),
        ["/r"]
    );
}

#[test]
fn files_that_the_user_can_t_read_are_marked() {
    let made = a()
        .directory("r")
        .file_of_mode("r/a", 0o600)
        .file_of_mode("r/b", 0o604)
        .directory_of_mode("r/c", 0o700);
    let tree = tree(&[made.file_of_mode("r/c/d", 0)]);
    let listing = list(&tree, &inventory("root: /r\nuser: \"7\"")).unwrap();
    let marked: Vec<_> = listing
        .files
        .into_iter()
        .filter(|file| file.unreadable)
        .map(|file| file.path)
        .collect();
    assert_eq!(
        marked,
        [b"a"],
        "what lies in a closed directory is not named again"
    );
}

#[test]
fn users_may_have_names_that_the_image_knows() {
    let passwd = "root:x:0:0::/:\nagent:x:1001:50::/:\nbad:x:y:z\n";
    let archive = || {
        a().file("etc/passwd", passwd)
            .file("etc/group", "staff:x:50:\n")
            .owned(1001, 50)
    };
    let made = || archive().directory_of_mode("r", 0o750).file("r/f", "");
    assert_eq!(closed(made(), "root: /r\nuser: agent"), [] as [&str; 0]);
    assert_eq!(closed(made(), "root: /r\nuser: 9:staff"), [] as [&str; 0]);
    assert_eq!(closed(made(), "root: /r\nuser: \"9\""), ["/r"]);
    for (user, message) in [
        (
            "nobody",
            "the user `nobody` is not in the image's /etc/passwd",
        ),
        ("bad", "the user `bad` is not in the image's /etc/passwd"),
        (
            "9:wheel",
            "the user `wheel` is not in the image's /etc/group",
        ),
    ] {
        let error = list(
            &tree(&[made()]),
            &inventory(&format!("root: /r\nuser: \"{user}\"")),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let error = list(
        &tree(&[a().directory("r")]),
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
    let archive = a()
        .file("r/agents/z.md", "")
        .file("r/agents/B.md", "")
        .file("r/plugins/p/agents/z.md", "")
        .file("r/plugins/p/agents/a.md", "")
        .file(b"r/agents/\xff.md", "")
        .file("r/agents/sub/no.md", "")
        .directory("r/skills/empty")
        .file("agents/outside.md", "");
    let inventory = inventory(KINDS);
    Enumeration::of(
        &list(&tree(&[archive]), &inventory).unwrap(),
        &inventory.kinds,
    )
}

#[test]
fn names_are_sorted_by_bytes_each_once() {
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
fn a_document_is_read_back_strictly() {
    let kinds = inventory(KINDS).kinds;
    let read = |text: &str| Enumeration::from_json("e.json", text.as_bytes(), &kinds);
    let text = r#"{"agents":["B","a"],"skills":[],"plugins":["p"]}"#;
    assert_eq!(read(text).unwrap().to_json(), text);
    let other_order = r#" {"plugins":["p"], "agents":["a","B","a"],"skills":[]} "#;
    assert_eq!(read(other_order).unwrap().to_json(), text);
    let hostile = r#"{"agents":["a\u001b[31m\u009b\u007f\u202e\"é"],"skills":[],"plugins":[]}"#;
    assert_eq!(read(hostile).unwrap().to_json(), hostile);
    let errors = |text: &str| -> Vec<String> {
        let errors = read(text).unwrap_err();
        errors
            .into_iter()
            .map(|error| format!("{} {}", error.code, error.message))
            .collect()
    };
    let parse = "enumeration_json_parse_failed e.json: malformed JSON: ";
    let wrong = "enumeration_json_invalid_type e.json: ";
    for broken in ["", "{", "{\"agents\":[]} x", "not json"] {
        assert!(
            errors(broken)[0].starts_with(parse),
            "{broken:?}: {:?}",
            errors(broken)
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
            .map(|line| format!("{wrong}{line}"))
            .collect();
        assert_eq!(errors(text), expected);
    }
    assert_eq!(
        errors(r#"{"agents":[],"skills":[],"plugins":[],"agents":["x"]}"#),
        ["enumeration_json_parse_failed e.json: duplicate key `agents`"]
    );
    for array in ["[]", r#"["agents"]"#, "3", "null", "\"agents\""] {
        assert!(
            errors(array)[0].starts_with(wrong),
            "{array}: {:?}",
            errors(array)
        );
    }
}

fn shipped(archives: &[Archive], block: &str) -> Vec<String> {
    let contents = gather(&layers(archives), &inventory(block)).unwrap();
    let shown = |file: &Shipped| {
        let hidden = if file.visible { "" } else { " hidden" };
        format!(
            "{}@{}{hidden}",
            String::from_utf8_lossy(&file.path),
            file.layer
        )
    };
    contents.shipped.iter().map(shown).collect()
}

#[test]
fn forbidden_files_are_found_in_every_layer() {
    let block = "root: /r\nforbidden_files: [\"*.token\", .netrc, \"sub/*.pem\"]";
    let archives = [
        a().file("r/.netrc", "1")
            .file("r/a/b.token", "")
            .file("r/sub/x.pem", "")
            .file("r/x.pem", ""),
        a().file("r/.wh..netrc", "")
            .file("r/a/.wh..wh..opq", "")
            .file(".netrc", "")
            .file("rr/.netrc", ""),
        a().file("r/d/.netrc", "")
            .symlink("r/e.token", "x")
            .directory("r/f.token")
            .device("r/g.token"),
        a().file("r/h.token", "")
            .file("r/h.token", "")
            .hardlink("r/i.token", "r/x.pem"),
        a().file("r/h.token", ""),
    ];
    assert_eq!(
        shipped(&archives, block),
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
        shipped(&archives[..2], "root: /\nforbidden_files: [.netrc]"),
        [".netrc@2", "r/.netrc@1 hidden", "rr/.netrc@2"]
    );
}

#[test]
fn forbidden_files_are_found_where_symlinks_lead() {
    let block = "root: /r\nforbidden_files: [.netrc, \"sub/x\"]";
    let through = [
        a().directory("r").symlink("l", "r"),
        a().file("l/.netrc", ""),
        a().file("l/.wh..netrc", ""),
    ];
    assert_eq!(shipped(&through, block), ["r/.netrc@2 hidden"]);
    let root = [
        a().file("data/.netrc", "").file("data/sub/x", ""),
        a().file("data/.wh..netrc", "").symlink("r", "data"),
    ];
    assert_eq!(
        shipped(&root, block),
        ["data/.netrc@1 hidden", "data/sub/x@1"]
    );
    let was = [
        a().file("r/.netrc", ""),
        a().symlink("r", "data").file("data/f", ""),
    ];
    assert_eq!(shipped(&was, block), ["r/.netrc@1 hidden"]);
}

#[test]
fn the_copy_of_the_contract_is_found_behind_links() {
    let block = "embedded_contract: /etc/expected.yaml";
    let copy = |archive: Archive| {
        gather(&layers(&[archive]), &inventory(block))
            .unwrap()
            .embedded
            .unwrap()
    };
    let text = "twenty bytes of text";
    let content = Embedded::Content(text.as_bytes().into());
    assert_eq!(copy(a().file("etc/expected.yaml", text)), content);
    assert_eq!(
        copy(
            a().file("x", text)
                .directory("etc")
                .hardlink("etc/expected.yaml", "x")
        ),
        content
    );
    assert_eq!(
        copy(
            a().file("x", text)
                .directory("etc")
                .symlink("etc/expected.yaml", "../x")
        ),
        content
    );
    assert_eq!(
        copy(a().file("etc/expected.yaml", "shorter")),
        Embedded::Other
    );
    assert_eq!(copy(a().directory("etc/expected.yaml")), Embedded::NotAFile);
    assert_eq!(copy(a()), Embedded::Missing);
}

#[test]
fn only_needed_contents_are_kept() {
    let wanted = |block: &str| {
        let want = want(&inventory(block), &[7]);
        let names = want
            .names
            .into_iter()
            .map(|name| String::from_utf8(name).unwrap())
            .collect::<Vec<_>>();
        (names.join(" "), want.lengths)
    };
    assert_eq!(
        wanted("root: /r\nuser: \"1001:0\""),
        (String::new(), vec![])
    );
    assert_eq!(
        wanted("user: agent\nembedded_contract: /etc/e.yaml"),
        ("passwd group e.yaml".into(), vec![7])
    );
}
