//! How layers are stacked.

use super::*;

#[test]
fn later_layers_replace_and_add() {
    let layers = [
        a().directory("d/").file("d/f", "1").file("g", "1"),
        a().file("d/f", "2").file("d/h", "2"),
    ];
    assert_eq!(all(&layers), ["d/", "d/f@2", "d/h@2", "g@1"]);
    assert_eq!(all(&[]), [] as [&str; 0]);
    assert_eq!(all(&[a(), a().file("f", ""), a()]), ["f@2"]);
}

#[test]
fn whiteouts_hide_lower_layers() {
    let lower = a()
        .directory("d")
        .file("d/f", "1")
        .file("d/g", "1")
        .file("e", "1");
    assert_eq!(
        all(&[lower.clone(), a().file("d/.wh.f", "")]),
        ["d/", "d/g@1", "e@1"]
    );
    assert_eq!(all(&[lower.clone(), a().file(".wh.d", "")]), ["e@1"]);
    assert_eq!(
        all(&[lower.clone(), a().file(".wh.d", ""), a().file("d/n", "3")]),
        ["d/", "d/n@3", "e@1"]
    );
    assert_eq!(
        all(&[
            lower.clone(),
            a().directory(".wh.e").symlink("d/.wh.g", "x")
        ]),
        ["d/", "d/f@1"]
    );
    assert_eq!(
        all(&[lower, a().file(".wh.none", "").file("none/.wh.f", "")]),
        ["d/", "d/f@1", "d/g@1", "e@1"]
    );
}

#[test]
fn a_whiteout_spares_its_own_layer_in_either_order() {
    let lower = a().file("f", "1").directory("a").file("a/old", "1");
    for upper in [
        a().file("f", "2").file(".wh.f", ""),
        a().file(".wh.f", "").file("f", "2"),
    ] {
        assert_eq!(all(&[lower.clone(), upper]), ["a/", "a/old@1", "f@2"]);
    }
    let new = |archive: Archive| archive.directory("a/").file("a/new", "2");
    for upper in [
        new(a()).file(".wh.a", ""),
        new(a().file(".wh.a", "")),
        a().file("a/new", "").file(".wh.a", ""),
    ] {
        assert_eq!(all(&[lower.clone(), upper]), ["a/", "a/new@2", "f@1"]);
    }
}

#[test]
fn opaque_whiteouts_hide_lower_content_first_or_last() {
    let lower = a()
        .directory("d")
        .file("d/f", "1")
        .directory("d/sub")
        .file("d/sub/g", "1")
        .file("e", "1");
    let opaque = "d/.wh..wh..opq";
    for upper in [
        a().directory("d").file(opaque, "").file("d/n", "2"),
        a().directory("d").file("d/n", "2").file(opaque, ""),
        a().file("d/n", "2").file(opaque, ""),
        a().file(opaque, "").directory("d").file("d/n", "2"),
    ] {
        assert_eq!(all(&[lower.clone(), upper]), ["d/", "d/n@2", "e@1"]);
    }
    for upper in [
        a().file("n", "2").file(".wh..wh..opq", ""),
        a().file("./.wh..wh..opq", "").file("n", "2"),
    ] {
        assert_eq!(all(&[lower.clone(), upper]), ["n@2"]);
    }
    assert_eq!(
        all(&[a().file("f", ""), a().file("f/.wh..wh..opq", "")]),
        ["f@1"],
        "not a directory below"
    );
}

#[test]
fn whiteouts_hide_only_what_is_below_a_new_directory_s_name() {
    // The layer makes a directory of what was a symlink: what the symlink pointed to stays.
    let lower = a().directory("z").file("z/f", "1").symlink("a", "z");
    for upper in [
        a().directory("a")
            .file("a/.wh..wh..opq", "")
            .file("a/n", "2"),
        a().file("a/.wh..wh..opq", "")
            .directory("a")
            .file("a/n", "2"),
        a().file("a/.wh.f", "").directory("a").file("a/n", "2"),
        a().file(".wh.a", "").file("a/.wh.f", "").file("a/n", "2"),
        a().file("a/.wh.f", "").file(".wh.a", "").file("a/n", "2"),
    ] {
        assert_eq!(all(&[lower.clone(), upper]), ["a/", "a/n@2", "z/", "z/f@1"]);
    }
    // The layer makes a symlink, and hides something behind it.
    let lower = a().directory("z").file("z/f", "1").file("z/g", "1");
    assert_eq!(
        all(&[lower, a().symlink("a", "z").file("a/.wh.f", "")]),
        ["a -> z", "z/", "z/g@1"]
    );
}

#[test]
fn files_through_a_symlinked_directory_land_where_it_points() {
    for target in ["z", "/z", "./z/", "../../z", "b/../z", "c/z"] {
        let lower = a()
            .directory("z")
            .file("z/f", "1")
            .directory("b")
            .symlink("c", "/")
            .symlink("a", target);
        let link = format!("a -> {target}");
        let upper = a()
            .file("a/.wh.f", "")
            .file("a/n", "2")
            .file("a/sub/m", "2");
        assert_eq!(
            all(&[lower, upper]),
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
    let missing = a().symlink("a", "new/deep");
    assert_eq!(
        all(&[missing, a().file("a/f", "2")]),
        ["a -> new/deep", "new/", "new/deep/", "new/deep/f@2"]
    );
    let turned = a()
        .directory("y")
        .directory("z")
        .symlink("a", "y")
        .file("a/1", "")
        .symlink("a", "z")
        .file("a/2", "");
    assert_eq!(all(&[turned]), ["a -> z", "y/", "y/1@1", "z/", "z/2@1"]);
}

#[test]
fn hard_links_share_what_they_name_and_outlive_it() {
    let tree = tree(&[
        a().directory("d").file("d/f", "1"),
        a().hardlink("g", "d/f").hardlink("./h", "/d/./f"),
        a().file("d/.wh.f", ""),
    ]);
    assert_eq!(shown(&tree), ["d/", "g@1", "h@1"]);
    assert_eq!(tree.find(b"g").unwrap().layer, 2);
    // In the layer that takes the target away: in reach before that, gone after it.
    let lower = a().directory("d").file("d/f", "1");
    assert_eq!(
        all(&[lower.clone(), a().hardlink("g", "d/f").file(".wh.d", "")]),
        ["g@1"]
    );
    assert!(matches!(
        merged(&[lower, a().file(".wh.d", "").hardlink("g", "d/f")]).unwrap_err().fault,
        MergeErrorKind::LinkTarget(path) if path == "d/f"
    ));
    let hidden = merged(&[a().directory("d"), a().hardlink("g", "d").file(".wh.d", "")])
        .unwrap_err()
        .fault;
    assert_eq!(hidden, MergeErrorKind::LinkToDirectory("d".into()));
    // Through a symlinked directory; and to a symlink itself.
    let links = a()
        .directory("z")
        .file("z/f", "1")
        .symlink("a", "z")
        .hardlink("g", "a/f")
        .hardlink("s", "a");
    assert_eq!(all(&[links]), ["a -> z", "g@1", "s -> z", "z/", "z/f@1"]);
}

#[test]
fn hard_links_to_nothing_are_errors() {
    for (archive, shown) in [
        (
            a().hardlink("g", "none"),
            "`g` is a hard link to `none`, which is missing",
        ),
        (
            a().hardlink("g", "f").file("f", ""),
            "`g` is a hard link to `f`, which is missing",
        ),
        (
            a().file("f", "").hardlink("f", "f"),
            "`f` is a hard link to `f`, which is missing",
        ),
        (
            a().directory("d").hardlink("g", "d"),
            "`g` is a hard link to the directory `d`",
        ),
        (
            a().hardlink("g", "/"),
            "`g` is a hard link to the directory ``",
        ),
        (
            a().file("f", "").hardlink("g", "f/x"),
            "`g` is a hard link to `f/x`, which is missing",
        ),
    ] {
        assert_eq!(
            merged(&[a(), archive]).unwrap_err().to_string(),
            format!("layer 2 of the image: {shown}")
        );
    }
}

#[test]
fn files_directories_and_symlinks_replace_one_another() {
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
            let seen = all(&[lower(a().file("y/keep", "")), upper(a())]);
            let expected: Vec<_> = expected
                .iter()
                .map(|line| line.replace('@', "@2"))
                .collect();
            let expected = [expected, vec!["y/".to_owned(), "y/keep@1".to_owned()]].concat();
            assert_eq!(seen, expected, "{above} over {below}");
        }
    }
    let attributes = tree(&[
        a().directory_of_mode("d", 0o700).file("d/f", ""),
        a().owned(5, 6).directory_of_mode("d", 0o2755),
    ]);
    let inode = attributes.find(b"d").unwrap().inode;
    assert_eq!((inode.mode, inode.uid, inode.gid), (0o2755, 5, 6));
    assert!(attributes.find(b"d/f").is_some());
}

#[test]
fn obstacle_in_the_tree_is_an_error_and_loses_nothing() {
    let error = |archives: &[Archive]| merged(archives).unwrap_err().fault;
    assert_eq!(
        error(&[a().file("a", ""), a().file("a/f", "")]),
        MergeErrorKind::NotADirectory("a".into())
    );
    assert_eq!(
        error(&[a().symlink("a", "b").file("b", "").file("a/f", "")]),
        MergeErrorKind::NotADirectory("b".into())
    );
    assert_eq!(
        error(&[a().symlink("a", "b").symlink("b", "a").file("a/f", "")]),
        MergeErrorKind::Loop
    );
    assert_eq!(
        error(&[a().symlink("a", "a/a").file("a/f", "")]),
        MergeErrorKind::Loop
    );
    assert_eq!(error(&[a().symlink("./", "x")]), MergeErrorKind::Root);
    assert!(
        merged(&[a().symlink("a", "a"), a().file("a/.wh.f", "")]).is_ok(),
        "nothing there to hide"
    );
}

#[test]
fn duplicates_warn_and_the_last_one_wins() {
    let tree = tree(&[
        a().file("f", ""),
        a().file_of_mode("f", 0o600)
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
        merged(&[a().file("d/f", "").directory("d")])
            .unwrap()
            .duplicates
            .is_empty(),
        "an entry in it is none of it"
    );
}

#[test]
fn directories_without_an_entry_are_what_the_engines_create() {
    let tree = tree(&[a().owned(7, 7).file("d/f", "")]);
    let inode = tree.find(b"d").unwrap().inode;
    assert_eq!((inode.mode, inode.uid), (0o755, 0));
    let tree = super::tree(&[a().directory_of_mode("./", 0o700)]);
    assert_eq!(tree.find(b"/").unwrap().inode.mode, 0o700);
}

#[test]
fn whoever_watches_sees_every_file_where_it_lands() {
    let archives = [
        a().symlink("a", "z")
            .file("z/.netrc", "")
            .file("gone", "")
            .device("dev"),
        a().file("a/f", "")
            .hardlink("h", "a/f")
            .file(".wh.gone", "")
            .file("f", "")
            .file("f", ""),
    ];
    let mut seen = Vec::new();
    merge(&layers(&archives), |placed| {
        assert!(placed.path().ends_with(placed.name()));
        seen.push(format!(
            "{}@{}",
            String::from_utf8_lossy(&placed.path()),
            placed.layer
        ));
    })
    .unwrap();
    assert_eq!(seen, ["z/.netrc@1", "gone@1", "z/f@2", "h@2", "f@2", "f@2"]);
}

#[test]
fn paths_are_followed_inside_the_root() {
    let tree = tree(&[a()
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
