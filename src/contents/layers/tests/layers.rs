//! Reading one layer: compression, verification and hostile headers.

use super::*;

fn names(bytes: &[u8]) -> Vec<String> {
    let layer = read(bytes).unwrap();
    layer
        .entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&layer.path(entry)).into_owned())
        .collect()
}

fn error_text(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn layer(stored: &[u8], plain: &[u8], encoding: Encoding) -> LayerDescriptor {
    LayerDescriptor {
        digest: Digest::of(stored),
        size: stored.len() as u64,
        encoding,
        diff_id: Digest::of(plain),
    }
}

fn read_as(stored: &[u8], layer: &LayerDescriptor) -> Result<usize, LayerErrorKind> {
    read_layer(stored, layer, &ContentFilter::default(), &budget())
        .map(|tree| tree.len())
        .map_err(|error| error.kind)
}

fn sample() -> Vec<u8> {
    tar()
        .directory("d")
        .file("d/f", "content")
        .file("g", vec![7; 300_000])
        .end()
}

#[test]
fn compression_does_not_change_the_entries() {
    let plain = sample();
    let (first, second) = plain.split_at(777);
    let members = [gzip(first), gzip(&[]), gzip(second)].concat();
    let zstd = zstd::encode_all(&*plain, 3).unwrap();
    let frames = [
        zstd::encode_all(first, 3).unwrap(),
        zstd::encode_all(second, 19).unwrap(),
    ]
    .concat();
    // A skippable frame, as in zstd:chunked.
    let skippable = [&zstd[..], b"\x50\x2a\x4d\x18\x04\0\0\0abcd"].concat();
    for (stored, encoding) in [
        (plain.clone(), Encoding::Plain),
        (gzip(&plain), Encoding::Gzip),
        (members, Encoding::Gzip),
        (zstd, Encoding::Zstd),
        (frames, Encoding::Zstd),
        (skippable, Encoding::Zstd),
    ] {
        assert_eq!(
            read_as(&stored, &layer(&stored, &plain, encoding)).unwrap(),
            3,
            "{encoding:?}"
        );
        assert!(
            read_as(
                &stored[..stored.len() - 1],
                &layer(&stored, &plain, encoding)
            )
            .is_err()
        );
    }
}

#[test]
fn stored_bytes_must_match_the_descriptor() {
    let plain = sample();
    for encoding in [Encoding::Plain, Encoding::Gzip, Encoding::Zstd] {
        let stored = match encoding {
            Encoding::Plain => plain.clone(),
            Encoding::Gzip => gzip(&plain),
            Encoding::Zstd => zstd::encode_all(&*plain, 3).unwrap(),
        };
        let good = layer(&stored, &plain, encoding);
        let cut = read_as(&stored[..stored.len() - 20], &good).unwrap_err();
        assert!(
            matches!(cut, LayerErrorKind::Truncated { expected, actual } if actual + 20 == expected),
            "{cut}"
        );
        let long = read_as(&[&stored[..], b"x"].concat(), &good).unwrap_err();
        assert!(matches!(long, LayerErrorKind::TooLong { .. }), "{long}");
        let mut flipped = stored.clone();
        flipped[stored.len() / 2] ^= 1;
        let flipped = read_as(&flipped, &good).unwrap_err();
        assert!(
            matches!(flipped, LayerErrorKind::Digest { .. }),
            "{flipped}"
        );
        let other = LayerDescriptor {
            diff_id: Digest::of(b""),
            ..good
        };
        let other = read_as(&stored, &other).unwrap_err();
        assert!(matches!(other, LayerErrorKind::DiffId { .. }), "{other}");
    }
    let empty = read_as(b"", &plain_of_size(b"", 10)).unwrap_err();
    assert!(
        matches!(empty, LayerErrorKind::Truncated { actual: 0, .. }),
        "{empty}"
    );
}

fn plain_of_size(bytes: &[u8], size: u64) -> LayerDescriptor {
    LayerDescriptor {
        size,
        ..plain(bytes)
    }
}

#[test]
fn source_failure_is_reported() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("connection reset"))
        }
    }
    let bytes = gzip(&sample());
    let source = (&bytes[..100]).chain(Broken);
    let error = read_layer(
        source,
        &layer(&bytes, &sample(), Encoding::Gzip),
        &ContentFilter::default(),
        &budget(),
    )
    .unwrap_err();
    assert_eq!(
        error.kind.to_string(),
        "it cannot be read: connection reset"
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("layer {}: it cannot be read", Digest::of(&bytes)))
    );
}

#[test]
fn wrong_compression_is_refused() {
    let plain = sample();
    let stored = gzip(&plain);
    for (stored, encoding) in [
        (&stored, Encoding::Zstd),
        (&plain, Encoding::Gzip),
        (&Vec::new(), Encoding::Gzip),
    ] {
        let kind = read_as(stored, &layer(stored, &plain, encoding)).unwrap_err();
        assert!(matches!(kind, LayerErrorKind::Decompress { .. }), "{kind}");
    }
    let trailing = [gzip(&plain), b"trailing".to_vec()].concat();
    let kind = read_as(&trailing, &layer(&trailing, &plain, Encoding::Gzip)).unwrap_err();
    assert!(matches!(kind, LayerErrorKind::Decompress { .. }), "{kind}");
}

#[test]
fn archive_end_is_optional_and_may_be_followed() {
    assert_eq!(names(b""), [] as [&str; 0]);
    assert_eq!(names(&[0; 1024]), [] as [&str; 0]);
    assert_eq!(
        names(&tar().file("f", "x").unterminated()),
        ["f"],
        "no empty blocks"
    );
    assert_eq!(
        names(&tar().file("f", "x").raw(&[0; 512]).unterminated()),
        ["f"],
        "one empty block"
    );
    let unpadded = tar().file("f", "x").unterminated();
    assert_eq!(names(&unpadded[..513]), ["f"], "no padding");
    let trailing = [tar().file("f", "x").end(), b"whatever".repeat(100_000)].concat();
    assert_eq!(names(&trailing), ["f"], "bytes after the end");
    let second = [tar().file("f", "x").end(), tar().file("g", "").end()].concat();
    assert_eq!(names(&second), ["f"], "engines ignore a second archive");
    assert!(error_text(&tar().raw(&[0; 512]).file("f", "").end()).contains("one empty block"));
    assert!(
        error_text(&tar().file("f", vec![1; 2000]).unterminated()[..1500])
            .contains("ends 1012 bytes before the end of a file")
    );
    assert!(
        error_text(&tar().file("f", "").unterminated()[..300]).contains("ends within a header")
    );
}

#[test]
fn names_are_normalized_and_never_leave_the_image() {
    let archive = tar()
        .file("/a", "")
        .file("./b", "")
        .file("c//./d", "")
        .file("e/../f", "")
        .directory("./")
        .directory("g/");
    assert_eq!(names(&archive.end()), ["a", "b", "c/d", "f", "", "g"]);
    for name in ["../a", "a/../../b", "/..", "..", "./.."] {
        assert!(
            error_text(&tar().file(name, "").end()).contains("leaves the image"),
            "{name}"
        );
        assert!(
            error_text(&tar().file("f", "").hardlink("g", name).end()).contains("leaves the image"),
            "{name}"
        );
    }
}

#[test]
fn empty_whiteouts_are_refused_and_aufs_names_ignored() {
    for name in [".wh.", "d/.wh.", ".wh..", ".wh...", "d/.wh..."] {
        assert!(
            error_text(&tar().file(name, "").end()).contains("hides nothing"),
            "{name}"
        );
    }
    assert!(
        error_text(&tar().file("d/.wh.x/f", "").end())
            .contains("in a directory with the name of a whiteout")
    );
    let aufs = tar()
        .directory(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", "")
        .file(".wh..wh.aufs", "")
        .directory(".wh..wh.orph/");
    assert_eq!(names(&aufs.file("f", "").end()), ["f"]);
}

#[test]
fn long_names_of_gnu_and_pax_are_read() {
    let long = format!("{}/{}", "d".repeat(200), "n".repeat(250));
    let gnu = tar()
        .long(b'L', long.as_bytes())
        .raw(&header(b'0', b"short", b"", 0));
    assert_eq!(names(&gnu.end()).concat(), long);
    let pax = tar()
        .pax(b'x', &[("path", long.as_bytes()), ("mtime", b"1.5")])
        .file("short", "x")
        .file("next", "");
    assert_eq!(names(&pax.end()), [long.clone(), "next".to_owned()]);
    let both = tar()
        .pax(b'x', &[("path", b"pax")])
        .long(b'L', b"gnu")
        .file("short", "");
    assert_eq!(names(&both.end()), ["gnu"], "as in Go's reader");
    let twice = tar()
        .pax(b'x', &[("path", b"one")])
        .pax(b'x', &[("comment", b"two")])
        .file("short", "");
    assert_eq!(
        names(&twice.end()),
        ["short"],
        "the second header replaces the first"
    );
    let mut block = header(b'0', b"name", b"", 0);
    block[345..351].copy_from_slice(b"prefix");
    assert_eq!(
        names(&tar().raw(&with_checksum(block)).end()),
        ["prefix/name"]
    );
    block[257..265].copy_from_slice(b"ustar  \0");
    assert_eq!(
        names(&tar().raw(&with_checksum(block)).end()),
        ["name"],
        "GNU tar has no prefix field"
    );
    let target = "t".repeat(300);
    let links = tar()
        .long(b'K', target.as_bytes())
        .symlink("a", "x")
        .pax(b'x', &[("linkpath", b"y")])
        .symlink("b", "x");
    let tree = merge(&[read(&links.end()).unwrap()], |_| {}).unwrap();
    assert_eq!(
        describe(&tree),
        [format!("a -> {target}"), "b -> y".to_owned()]
    );
}

#[test]
fn names_need_not_be_utf8() {
    let layer = read(&tar().file(b"\xff\xfe", "").file("ä", "").end()).unwrap();
    let paths: Vec<_> = layer
        .entries
        .iter()
        .map(|entry| layer.path(entry))
        .collect();
    assert_eq!(paths, [&b"\xff\xfe"[..], "ä".as_bytes()]);
}

#[test]
fn sizes_are_read_like_in_go() {
    let pax = tar()
        .pax(b'x', &[("size", b"1000")])
        .raw(&header(b'0', b"f", b"", 1))
        .content(&[1; 1000])
        .file("g", "");
    assert_eq!(names(&pax.end()), ["f", "g"]);
    let mut block = header(b'0', b"f", b"", 0);
    block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\x03\xe8");
    assert_eq!(
        names(
            &tar()
                .raw(&with_checksum(block))
                .content(&[1; 1000])
                .file("g", "")
                .end()
        ),
        ["f", "g"]
    );
    for kind in [b'1', b'2', b'5', b'6'] {
        let archive = tar()
            .file("t", "")
            .raw(&header(kind, b"x", b"t", 512))
            .file("hidden", "");
        assert_eq!(
            names(&archive.end()),
            ["t", "x", "hidden"],
            "no content after {}",
            char::from(kind)
        );
    }
    let old = tar()
        .raw(&header(0, b"dir/", b"", 0))
        .raw(&header(0, b"file", b"", 0))
        .raw(&header(b'7', b"c", b"", 0));
    let layer = read(&old.end()).unwrap();
    let tree = merge(&[layer], |_| {}).unwrap();
    assert_eq!(describe(&tree), ["c@1", "dir/", "file@1"]);
}

#[test]
fn sparse_files_have_their_original_names() {
    let mut block = header(b'S', b"sparse", b"", 512);
    block[257..265].copy_from_slice(b"ustar  \0");
    block[482] = 1;
    let mut map = [0; 512];
    map[504] = 1;
    let old = tar()
        .raw(&with_checksum(block))
        .raw(&map)
        .raw(&[0; 512])
        .content(&[1; 512])
        .file("next", "");
    assert_eq!(names(&old.end()), ["sparse", "next"]);
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"d/sparse"),
        ("GNU.sparse.realsize", b"1000000"),
    ];
    let new = tar()
        .pax(b'x', &records)
        .file("GNUSparseFile.0/sparse", "1\n0\n512\n")
        .file("next", "");
    assert_eq!(names(&new.end()), ["d/sparse", "next"]);
}

#[test]
fn ambiguous_headers_are_refused() {
    let global = |keyword: &str| tar().pax(b'g', &[(keyword, b"1")]).file("f", "");
    let capability = "SCHILY.xattr.security.capability";
    let paths = ["path", "linkpath", "GNU.sparse.name"];
    for keyword in paths.into_iter().chain(["size", "uid", "gid", capability]) {
        assert!(
            error_text(&global(keyword).end()).contains("global header"),
            "{keyword}"
        );
    }
    assert_eq!(
        names(&global("comment").end()),
        ["f"],
        "written by `git archive`"
    );
    let mut block = header(b'0', b"f", b"", 0);
    block[0] = b'g';
    assert!(error_text(&tar().raw(&block).end()).contains("checksum"));
    assert!(error_text(&tar().raw(&header(b'V', b"f", b"", 0)).end()).contains("unknown type `V`"));
    assert!(error_text(&tar().pax(b'x', &[("path", b"a\0b")]).file("f", "").end()).contains("NUL"));
    assert!(
        error_text(
            &tar()
                .raw(&header(b'x', b"x", b"", 5))
                .content(b"abcde")
                .end()
        )
        .contains("extended header is malformed")
    );
    let mut block = header(b'0', b"f", b"", 0);
    block[124] = 0xff;
    assert!(error_text(&tar().raw(&with_checksum(block)).end()).contains("size"));
    assert!(
        error_text(
            &tar()
                .pax(b'x', &[("size", b"9223372036854775808")])
                .file("f", "")
                .end()
        )
        .contains("impossible size")
    );
}

#[test]
fn long_headers_are_bounded() {
    let long = tar().raw(&header(b'L', b"x", b"", 1 << 32)).end();
    assert!(error_text(&long).contains("at most 1048576"));
    let long = tar().raw(&header(b'x', b"x", b"", (1 << 20) + 1)).end();
    assert!(error_text(&long).contains("at most 1048576"));
    let deep = "a/".repeat(2100);
    assert!(
        error_text(&tar().long(b'L', deep.as_bytes()).file("f", "").end())
            .contains("more than 4096")
    );
}

#[test]
fn entries_are_limited_by_the_budget() {
    let many: Archive = (0..200).fold(tar(), |archive, n| archive.file(format!("file{n}"), ""));
    let bytes = many.end();
    let small = Budget::new(20_000);
    let kind = read_layer(&*bytes, &plain(&bytes), &ContentFilter::default(), &small)
        .unwrap_err()
        .kind;
    assert!(
        matches!(kind, LayerErrorKind::Entries { limit: 20_000 }),
        "{kind}"
    );
    let deep = tar().file("a/".repeat(1000) + "f", "").end();
    let fresh = Budget::new(20_000);
    assert!(
        read_layer(&*deep, &plain(&deep), &ContentFilter::default(), &fresh).is_err(),
        "each directory counts"
    );
    let shallow = tar().file("a/f", "").end();
    assert!(
        read_layer(
            &*shallow,
            &plain(&shallow),
            &ContentFilter::default(),
            &Budget::new(20_000)
        )
        .is_ok()
    );
}

#[test]
fn contents_are_selected_by_name_or_length() {
    let archive = tar()
        .file("etc/passwd", "root:x:0:0")
        .file("a", "12345")
        .file("b", "123456")
        .hardlink("c", "a");
    let bytes = archive.file("big/passwd", vec![0; 2 << 20]).end();
    let filter = ContentFilter {
        names: vec![b"passwd".to_vec()],
        lengths: vec![5],
        databases: false,
    };
    let layer = read_layer(&*bytes, &plain(&bytes), &filter, &budget()).unwrap();
    let tree = merge(&[layer], |_| {}).unwrap();
    let content = |path: &[u8]| match &tree.find(path).unwrap().inode.kind {
        FileType::File(content) => content.as_deref().map(<[u8]>::to_vec),
        _ => panic!("no file"),
    };
    assert_eq!(content(b"etc/passwd"), Some(b"root:x:0:0".to_vec()));
    assert_eq!(content(b"c"), Some(b"12345".to_vec()));
    assert_eq!(content(b"b"), None);
    assert_eq!(content(b"big/passwd"), None, "larger than the limit");
}

/// A source of zeros.
struct Zeros(u64);

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = usize::try_from(self.0)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        buffer[..length].fill(0);
        self.0 -= length as u64;
        Ok(length)
    }
}

#[test]
fn layer_that_inflates_beyond_the_limit_is_refused() {
    let limit = 1000;
    let mut plain = crate::contents::layers::stream::UncompressedStream::new(
        Zeros(4 << 20),
        "gzip",
        limit,
        crate::contents::layers::stream::StreamHasher::for_size(0),
    );
    let kind = plain.skip(2 << 20).unwrap_err();
    assert!(
        matches!(kind, LayerErrorKind::Inflates { limit: 1000 }),
        "{kind}"
    );
}

/// The paths below the root whose contents a layer stores.
fn stored(archive: Archive, databases: bool) -> Vec<String> {
    let filter = ContentFilter {
        databases,
        ..ContentFilter::default()
    };
    let bytes = archive.end();
    let layer = read_layer(&*bytes, &plain(&bytes), &filter, &budget()).unwrap();
    let tree = merge(&[layer], |_| {}).unwrap();
    let root = tree.find(b"").unwrap();
    let mut paths = Vec::new();
    for entry in tree.list(&root, |_| true) {
        if let FileType::File(Some(_)) = entry.inode.kind {
            paths.push(String::from_utf8(entry.path).unwrap());
        }
    }
    paths
}

#[test]
fn package_databases_are_stored_if_they_are_selected() {
    let selected = [
        "lib/apk/db/installed",
        "usr/lib/sysimage/rpm/rpmdb.sqlite",
        "usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
        "var/lib/dpkg/status",
        "var/lib/dpkg/status.d/base",
    ];
    let others = [
        "dpkg/x/status",
        "lib/apk/db/triggers",
        "rpmdb.sqlite",
        "var/lib/dpkg/status-old",
        "var/lib/dpkg/status.d/base.md5sums",
        "var/lib/xdpkg/status",
    ];
    let mut archive = tar().file("var/lib/rpm/rpmdb.sqlite-wal", "changes");
    for path in selected.iter().chain(&others) {
        let is_log = path.ends_with("-wal");
        archive = archive.file(path, if is_log { "" } else { "content" });
    }
    assert_eq!(stored(archive.clone(), true), selected);
    assert_eq!(stored(archive, false), [] as [String; 0]);
}

#[test]
fn databases_over_the_budget_are_not_stored() {
    let bytes = tar()
        .file("var/lib/dpkg/status", vec![b'a'; 2 << 20])
        .file("lib/apk/db/installed", "b")
        .end();
    let filter = ContentFilter {
        databases: true,
        ..ContentFilter::default()
    };
    let read = |used: u64| {
        let budget = budget();
        assert!(budget.charge_database(used));
        read_layer(&*bytes, &plain(&bytes), &filter, &budget).unwrap()
    };
    let whole = read(IMAGE_DATABASES - (2 << 20) - 1);
    assert!(!whole.is_incomplete());
    assert_eq!(whole.database_bytes(), (2 << 20) + 1);
    let incomplete = read(IMAGE_DATABASES - (2 << 20));
    assert!(incomplete.is_incomplete());
    assert_eq!(incomplete.database_bytes(), whole.database_bytes());
    // Databases do not count as entries.
    assert!(whole.cost() < 1 << 20);
}
