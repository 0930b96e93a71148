//! Merging layers.

use super::*;
use crate::contents::layers::limits::MergeErrorKind;

#[test]
fn later_layers_replace_and_add() {
    let layers = [
        tar().directory("d/").file("d/f", "1").file("g", "1"),
        tar().file("d/f", "2").file("d/h", "2"),
    ];
    assert_eq!(merged_paths(&layers), ["d/", "d/f@2", "d/h@2", "g@1"]);
    assert_eq!(merged_paths(&[]), [] as [&str; 0]);
    assert_eq!(merged_paths(&[tar(), tar().file("f", ""), tar()]), ["f@2"]);
}

#[test]
fn whiteouts_hide_lower_layers() {
    let lower = tar()
        .directory("d")
        .file("d/f", "1")
        .file("d/g", "1")
        .file("e", "1");
    assert_eq!(
        merged_paths(&[lower.clone(), tar().file("d/.wh.f", "")]),
        ["d/", "d/g@1", "e@1"]
    );
    assert_eq!(
        merged_paths(&[lower.clone(), tar().file(".wh.d", "")]),
        ["e@1"]
    );
    assert_eq!(
        merged_paths(&[
            lower.clone(),
            tar().file(".wh.d", ""),
            tar().file("d/n", "3")
        ]),
        ["d/", "d/n@3", "e@1"]
    );
    assert_eq!(
        merged_paths(&[
            lower.clone(),
            tar().directory(".wh.e").symlink("d/.wh.g", "x")
        ]),
        ["d/", "d/f@1"]
    );
    assert_eq!(
        merged_paths(&[lower, tar().file(".wh.none", "").file("none/.wh.f", "")]),
        ["d/", "d/f@1", "d/g@1", "e@1"]
    );
}

#[test]
fn whiteout_never_hides_entries_of_its_layer() {
    let lower = tar().file("f", "1").directory("a").file("a/old", "1");
    for upper in [
        tar().file("f", "2").file(".wh.f", ""),
        tar().file(".wh.f", "").file("f", "2"),
    ] {
        assert_eq!(
            merged_paths(&[lower.clone(), upper]),
            ["a/", "a/old@1", "f@2"]
        );
    }
    let new = |archive: Archive| archive.directory("a/").file("a/new", "2");
    for upper in [
        new(tar()).file(".wh.a", ""),
        new(tar().file(".wh.a", "")),
        tar().file("a/new", "").file(".wh.a", ""),
    ] {
        assert_eq!(
            merged_paths(&[lower.clone(), upper]),
            ["a/", "a/new@2", "f@1"]
        );
    }
}

#[test]
fn opaque_whiteouts_hide_lower_content_first_or_last() {
    let lower = tar()
        .directory("d")
        .file("d/f", "1")
        .directory("d/sub")
        .file("d/sub/g", "1")
        .file("e", "1");
    let opaque = "d/.wh..wh..opq";
    for upper in [
        tar().directory("d").file(opaque, "").file("d/n", "2"),
        tar().directory("d").file("d/n", "2").file(opaque, ""),
        tar().file("d/n", "2").file(opaque, ""),
        tar().file(opaque, "").directory("d").file("d/n", "2"),
    ] {
        assert_eq!(
            merged_paths(&[lower.clone(), upper]),
            ["d/", "d/n@2", "e@1"]
        );
    }
    for upper in [
        tar().file("n", "2").file(".wh..wh..opq", ""),
        tar().file("./.wh..wh..opq", "").file("n", "2"),
    ] {
        assert_eq!(merged_paths(&[lower.clone(), upper]), ["n@2"]);
    }
    assert_eq!(
        merged_paths(&[tar().file("f", ""), tar().file("f/.wh..wh..opq", "")]),
        ["f@1"],
        "not a directory in the lower layer"
    );
}

#[test]
fn whiteout_in_new_directory_spares_old_symlink_target() {
    // The layer replaces a symlink with a directory: the target of the symlink remains.
    let lower = tar().directory("z").file("z/f", "1").symlink("a", "z");
    for upper in [
        tar()
            .directory("a")
            .file("a/.wh..wh..opq", "")
            .file("a/n", "2"),
        tar()
            .file("a/.wh..wh..opq", "")
            .directory("a")
            .file("a/n", "2"),
        tar().file("a/.wh.f", "").directory("a").file("a/n", "2"),
        tar().file(".wh.a", "").file("a/.wh.f", "").file("a/n", "2"),
        tar().file("a/.wh.f", "").file(".wh.a", "").file("a/n", "2"),
    ] {
        assert_eq!(
            merged_paths(&[lower.clone(), upper]),
            ["a/", "a/n@2", "z/", "z/f@1"]
        );
    }
    // The layer adds a symlink, and hides a file in its target.
    let lower = tar().directory("z").file("z/f", "1").file("z/g", "1");
    assert_eq!(
        merged_paths(&[lower, tar().symlink("a", "z").file("a/.wh.f", "")]),
        ["a -> z", "z/", "z/g@1"]
    );
}

#[test]
fn files_in_symlinked_directory_go_to_the_target() {
    for target in ["z", "/z", "./z/", "../../z", "b/../z", "c/z"] {
        let lower = tar()
            .directory("z")
            .file("z/f", "1")
            .directory("b")
            .symlink("c", "/")
            .symlink("a", target);
        let link = format!("a -> {target}");
        let upper = tar()
            .file("a/.wh.f", "")
            .file("a/n", "2")
            .file("a/sub/m", "2");
        assert_eq!(
            merged_paths(&[lower, upper]),
            [
                link.as_str(),
                "b/",
                "c -> /",
                "z/",
                "z/n@2",
                "z/sub/",
                "z/sub/m@2"
            ],
            "{target}"
        );
    }
    let missing = tar().symlink("a", "new/deep");
    assert_eq!(
        merged_paths(&[missing, tar().file("a/f", "2")]),
        ["a -> new/deep", "new/", "new/deep/", "new/deep/f@2"]
    );
    let turned = tar()
        .directory("y")
        .directory("z")
        .symlink("a", "y")
        .file("a/1", "")
        .symlink("a", "z")
        .file("a/2", "");
    assert_eq!(
        merged_paths(&[turned]),
        ["a -> z", "y/", "y/1@1", "z/", "z/2@1"]
    );
}

#[test]
fn hard_links_survive_the_removal_of_their_target() {
    let tree = tree(&[
        tar().directory("d").file("d/f", "1"),
        tar().hardlink("g", "d/f").hardlink("./h", "/d/./f"),
        tar().file("d/.wh.f", ""),
    ]);
    assert_eq!(describe(&tree), ["d/", "g@1", "h@1"]);
    assert_eq!(tree.find(b"g").unwrap().layer, 2);
    // A link before the whiteout of its target is valid; a link after it is not.
    let lower = tar().directory("d").file("d/f", "1");
    assert_eq!(
        merged_paths(&[lower.clone(), tar().hardlink("g", "d/f").file(".wh.d", "")]),
        ["g@1"]
    );
    assert!(matches!(
        try_merge(&[lower, tar().file(".wh.d", "").hardlink("g", "d/f")]).unwrap_err().kind,
        MergeErrorKind::LinkTarget(path) if path == "d/f"
    ));
    let hidden = try_merge(&[
        tar().directory("d"),
        tar().hardlink("g", "d").file(".wh.d", ""),
    ])
    .unwrap_err()
    .kind;
    assert_eq!(hidden, MergeErrorKind::LinkToDirectory("d".into()));
    // A target in a symlinked directory, and a symlink as the target.
    let links = tar()
        .directory("z")
        .file("z/f", "1")
        .symlink("a", "z")
        .hardlink("g", "a/f")
        .hardlink("s", "a");
    assert_eq!(
        merged_paths(&[links]),
        ["a -> z", "g@1", "s -> z", "z/", "z/f@1"]
    );
}

#[test]
fn hard_link_without_valid_target_is_refused() {
    for (archive, shown) in [
        (
            tar().hardlink("g", "none"),
            "`g` is a hard link to `none`, which is missing",
        ),
        (
            tar().hardlink("g", "f").file("f", ""),
            "`g` is a hard link to `f`, which is missing",
        ),
        (
            tar().file("f", "").hardlink("f", "f"),
            "`f` is a hard link to `f`, which is missing",
        ),
        (
            tar().directory("d").hardlink("g", "d"),
            "`g` is a hard link to the directory `d`",
        ),
        (
            tar().hardlink("g", "/"),
            "`g` is a hard link to the directory ``",
        ),
        (
            tar().file("f", "").hardlink("g", "f/x"),
            "`g` is a hard link to `f/x`, which is missing",
        ),
    ] {
        assert_eq!(
            try_merge(&[tar(), archive]).unwrap_err().to_string(),
            format!("layer 2 of the image: {shown}")
        );
    }
}

#[test]
fn every_file_type_replaces_every_other() {
    type Make = (
        &'static str,
        fn(Archive) -> Archive,
        &'static [&'static str],
    );
    let make: [Make; 4] = [
        ("file", |archive| archive.file("x", "1"), &["x@"]),
        (
            "directory",
            |archive| archive.directory("x").file("x/f", "1"),
            &["x/", "x/f@"],
        ),
        ("symlink", |archive| archive.symlink("x", "y"), &["x -> y"]),
        ("device", |archive| archive.device("x"), &["x!"]),
    ];
    for (below, lower, _) in make {
        for (above, upper, expected) in make {
            let seen = merged_paths(&[lower(tar().file("y/keep", "")), upper(tar())]);
            let expected: Vec<_> = expected
                .iter()
                .map(|line| line.replace('@', "@2"))
                .collect();
            let expected = [expected, vec!["y/".to_owned(), "y/keep@1".to_owned()]].concat();
            assert_eq!(seen, expected, "{above} over {below}");
        }
    }
    let attributes = tree(&[
        tar().directory_of_mode("d", 0o700).file("d/f", ""),
        tar().owned(5, 6).directory_of_mode("d", 0o2755),
    ]);
    let inode = attributes.find(b"d").unwrap().inode;
    assert_eq!((inode.mode, inode.uid, inode.gid), (0o2755, 5, 6));
    assert!(attributes.find(b"d/f").is_some());
}

#[test]
fn unresolvable_directory_is_refused() {
    let error = |archives: &[Archive]| try_merge(archives).unwrap_err().kind;
    assert_eq!(
        error(&[tar().file("a", ""), tar().file("a/f", "")]),
        MergeErrorKind::NotADirectory("a".into())
    );
    assert_eq!(
        error(&[tar().symlink("a", "b").file("b", "").file("a/f", "")]),
        MergeErrorKind::NotADirectory("b".into())
    );
    assert_eq!(
        error(&[tar().symlink("a", "b").symlink("b", "a").file("a/f", "")]),
        MergeErrorKind::Loop
    );
    assert_eq!(
        error(&[tar().symlink("a", "a/a").file("a/f", "")]),
        MergeErrorKind::Loop
    );
    assert_eq!(error(&[tar().symlink("./", "x")]), MergeErrorKind::Root);
    assert!(
        try_merge(&[tar().symlink("a", "a"), tar().file("a/.wh.f", "")]).is_ok(),
        "the whiteout hides nothing"
    );
}

#[test]
fn duplicates_are_reported_and_the_last_one_wins() {
    let tree = tree(&[
        tar().file("f", ""),
        tar()
            .file_of_mode("f", 0o600)
            .file_of_mode("./f", 0o640)
            .directory("d")
            .directory("d/"),
    ]);
    assert_eq!(tree.find(b"f").unwrap().inode.mode, 0o640);
    let duplicates: Vec<_> = tree
        .duplicates
        .iter()
        .map(|d| (d.layer, String::from_utf8_lossy(&d.path)))
        .collect();
    assert_eq!(duplicates, [(2, "f".into()), (2, "d".into())]);
    assert!(
        try_merge(&[tar().file("d/f", "").directory("d")])
            .unwrap()
            .duplicates
            .is_empty(),
        "an entry in a directory is no duplicate of it"
    );
}

#[test]
fn implicit_directories_have_default_attributes() {
    let tree = tree(&[tar().owned(7, 7).file("d/f", "")]);
    let inode = tree.find(b"d").unwrap().inode;
    assert_eq!((inode.mode, inode.uid), (0o755, 0));
    let tree = super::tree(&[tar().directory_of_mode("./", 0o700)]);
    assert_eq!(tree.find(b"/").unwrap().inode.mode, 0o700);
}

#[test]
fn callback_receives_every_file_with_its_resolved_path() {
    let archives = [
        tar()
            .symlink("a", "z")
            .file("z/.netrc", "")
            .file("removed", "")
            .device("dev"),
        tar()
            .file("a/f", "")
            .hardlink("h", "a/f")
            .file(".wh.removed", "")
            .file("f", "")
            .file("f", ""),
    ];
    let mut seen = Vec::new();
    merge(&layers(&archives), |added| {
        seen.push(format!(
            "{}@{}",
            String::from_utf8_lossy(&added.path()),
            added.layer
        ));
    })
    .unwrap();
    assert_eq!(
        seen,
        ["z/.netrc@1", "removed@1", "z/f@2", "h@2", "f@2", "f@2"]
    );
}

#[test]
fn paths_are_resolved_inside_the_root() {
    let tree = tree(&[tar()
        .file("z/f", "")
        .symlink("a", "/../z")
        .symlink("b", "a/f")
        .symlink("dangling", "x/y")]);
    assert_eq!(tree.find(b"/a/f").unwrap().path, b"z/f");
    assert_eq!(tree.find(b"b").unwrap().path, b"z/f");
    assert_eq!(tree.find(b"a/../z/./f").unwrap().path, b"z/f");
    assert!(tree.find(b"dangling").is_none());
    assert!(tree.find(b"z/f/g").is_none());
    let searched: Vec<_> = tree
        .find(b"b")
        .unwrap()
        .searched
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(searched, [&b""[..], b"", b"", b"z"], "for b, a, z and f");
}
