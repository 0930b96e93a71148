//! How one layer is read: forms, verification, hostile headers.

use super::*;

fn names(bytes: &[u8]) -> Vec<String> {
    let layer = read(bytes).unwrap();
    layer
        .entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&layer.path(entry)).into_owned())
        .collect()
}

fn why(bytes: &[u8]) -> String {
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
        .map_err(|error| error.fault)
}

fn sample() -> Vec<u8> {
    a().directory("d")
        .file("d/f", "content")
        .file("g", vec![7; 300_000])
        .end()
}

#[test]
fn every_form_gives_the_same_list() {
    let plain = sample();
    let (first, second) = plain.split_at(777);
    let members = [gzip(first), gzip(&[]), gzip(second)].concat();
    let zstd = zstd::encode_all(&*plain, 3).unwrap();
    let frames = [
        zstd::encode_all(first, 3).unwrap(),
        zstd::encode_all(second, 19).unwrap(),
    ]
    .concat();
    // A frame that decoders skip, as zstd:chunked has it.
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
fn the_stored_bytes_have_to_be_those_of_the_descriptor() {
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
            matches!(cut, LayerErrorKind::Truncated { announced, got } if got + 20 == announced),
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
        matches!(empty, LayerErrorKind::Truncated { got: 0, .. }),
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
        error.fault.to_string(),
        "it cannot be read: connection reset"
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("layer {}: it cannot be read", Digest::of(&bytes)))
    );
}

#[test]
fn bytes_of_another_form_than_announced_are_refused() {
    let plain = sample();
    let stored = gzip(&plain);
    for (stored, encoding) in [
        (&stored, Encoding::Zstd),
        (&plain, Encoding::Gzip),
        (&Vec::new(), Encoding::Gzip),
    ] {
        let fault = read_as(stored, &layer(stored, &plain, encoding)).unwrap_err();
        assert!(
            matches!(fault, LayerErrorKind::Decompress { .. }),
            "{fault}"
        );
    }
    let trailing = [gzip(&plain), b"trailing".to_vec()].concat();
    let fault = read_as(&trailing, &layer(&trailing, &plain, Encoding::Gzip)).unwrap_err();
    assert!(
        matches!(fault, LayerErrorKind::Decompress { .. }),
        "{fault}"
    );
}

#[test]
fn archives_may_end_early_or_go_on() {
    assert_eq!(names(b""), [] as [&str; 0]);
    assert_eq!(names(&[0; 1024]), [] as [&str; 0]);
    assert_eq!(names(&a().file("f", "x").cut()), ["f"], "no empty blocks");
    assert_eq!(
        names(&a().file("f", "x").raw(&[0; 512]).cut()),
        ["f"],
        "one of them"
    );
    let unpadded = a().file("f", "x").cut();
    assert_eq!(names(&unpadded[..513]), ["f"], "no padding");
    let behind = [a().file("f", "x").end(), b"whatever".repeat(100_000)].concat();
    assert_eq!(names(&behind), ["f"], "bytes behind the end");
    let second = [a().file("f", "x").end(), a().file("g", "").end()].concat();
    assert_eq!(names(&second), ["f"], "no engine reads a second archive");
    assert!(why(&a().raw(&[0; 512]).file("f", "").end()).contains("one empty block"));
    assert!(
        why(&a().file("f", vec![1; 2000]).cut()[..1500])
            .contains("ends 1012 bytes before the end of a file")
    );
    assert!(why(&a().file("f", "").cut()[..300]).contains("ends within a header"));
}

#[test]
fn names_are_cleaned_and_stay_inside() {
    let archive = a()
        .file("/a", "")
        .file("./b", "")
        .file("c//./d", "")
        .file("e/../f", "")
        .directory("./")
        .directory("g/");
    assert_eq!(names(&archive.end()), ["a", "b", "c/d", "f", "", "g"]);
    for name in ["../a", "a/../../b", "/..", "..", "./.."] {
        assert!(
            why(&a().file(name, "").end()).contains("leaves the image"),
            "{name}"
        );
        assert!(
            why(&a().file("f", "").hardlink("g", name).end()).contains("leaves the image"),
            "{name}"
        );
    }
}

#[test]
fn whiteouts_that_name_nothing_are_errors_and_those_of_aufs_nothing() {
    for name in [".wh.", "d/.wh.", ".wh..", ".wh...", "d/.wh..."] {
        assert!(
            why(&a().file(name, "").end()).contains("hides nothing"),
            "{name}"
        );
    }
    assert!(
        why(&a().file("d/.wh.x/f", "").end())
            .contains("in a directory with the name of a whiteout")
    );
    let aufs = a()
        .directory(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", "")
        .file(".wh..wh.aufs", "")
        .directory(".wh..wh.orph/");
    assert_eq!(names(&aufs.file("f", "").end()), ["f"]);
}

#[test]
fn long_names_of_both_families_are_read() {
    let long = format!("{}/{}", "d".repeat(200), "n".repeat(250));
    let gnu = a()
        .long(b'L', long.as_bytes())
        .raw(&header(b'0', b"short", b"", 0));
    assert_eq!(names(&gnu.end()).concat(), long);
    let pax = a()
        .pax(b'x', &[("path", long.as_bytes()), ("mtime", b"1.5")])
        .file("short", "x")
        .file("next", "");
    assert_eq!(names(&pax.end()), [long.clone(), "next".to_owned()]);
    let both = a()
        .pax(b'x', &[("path", b"pax")])
        .long(b'L', b"gnu")
        .file("short", "");
    assert_eq!(names(&both.end()), ["gnu"], "as Go's reader has it");
    let twice = a()
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
    assert_eq!(names(&a().raw(&seal(block)).end()), ["prefix/name"]);
    block[257..265].copy_from_slice(b"ustar  \0");
    assert_eq!(
        names(&a().raw(&seal(block)).end()),
        ["name"],
        "GNU has other fields there"
    );
    let target = "t".repeat(300);
    let links = a()
        .long(b'K', target.as_bytes())
        .symlink("a", "x")
        .pax(b'x', &[("linkpath", b"y")])
        .symlink("b", "x");
    let tree = merge(&[read(&links.end()).unwrap()], |_| {}).unwrap();
    assert_eq!(
        shown(&tree),
        [format!("a -> {target}"), "b -> y".to_owned()]
    );
}

#[test]
fn names_need_not_be_utf8() {
    let layer = read(&a().file(b"\xff\xfe", "").file("ä", "").end()).unwrap();
    let paths: Vec<_> = layer
        .entries
        .iter()
        .map(|entry| layer.path(entry))
        .collect();
    assert_eq!(paths, [&b"\xff\xfe"[..], "ä".as_bytes()]);
}

#[test]
fn sizes_come_from_where_go_takes_them() {
    let pax = a()
        .pax(b'x', &[("size", b"1000")])
        .raw(&header(b'0', b"f", b"", 1))
        .content(&[1; 1000])
        .file("g", "");
    assert_eq!(names(&pax.end()), ["f", "g"]);
    let mut block = header(b'0', b"f", b"", 0);
    block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\x03\xe8");
    assert_eq!(
        names(
            &a().raw(&seal(block))
                .content(&[1; 1000])
                .file("g", "")
                .end()
        ),
        ["f", "g"]
    );
    for kind in [b'1', b'2', b'5', b'6'] {
        let archive = a()
            .file("t", "")
            .raw(&header(kind, b"x", b"t", 512))
            .file("hidden", "");
        assert_eq!(
            names(&archive.end()),
            ["t", "x", "hidden"],
            "no content behind {}",
            char::from(kind)
        );
    }
    let old = a()
        .raw(&header(0, b"dir/", b"", 0))
        .raw(&header(0, b"file", b"", 0))
        .raw(&header(b'7', b"c", b"", 0));
    let layer = read(&old.end()).unwrap();
    let tree = merge(&[layer], |_| {}).unwrap();
    assert_eq!(shown(&tree), ["c@1", "dir/", "file@1"]);
}

#[test]
fn sparse_files_are_files_of_their_own_name() {
    let mut block = header(b'S', b"sparse", b"", 512);
    block[257..265].copy_from_slice(b"ustar  \0");
    block[482] = 1;
    let mut map = [0; 512];
    map[504] = 1;
    let old = a()
        .raw(&seal(block))
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
    let new = a()
        .pax(b'x', &records)
        .file("GNUSparseFile.0/sparse", "1\n0\n512\n")
        .file("next", "");
    assert_eq!(names(&new.end()), ["d/sparse", "next"]);
}

#[test]
fn headers_that_readers_take_differently_are_refused() {
    let global = |keyword: &str| a().pax(b'g', &[(keyword, b"1")]).file("f", "");
    for keyword in ["path", "linkpath", "size", "uid", "gid", "GNU.sparse.name"] {
        assert!(
            why(&global(keyword).end()).contains("global header"),
            "{keyword}"
        );
    }
    assert_eq!(
        names(&global("comment").end()),
        ["f"],
        "as `git archive` writes it"
    );
    let mut block = header(b'0', b"f", b"", 0);
    block[0] = b'g';
    assert!(why(&a().raw(&block).end()).contains("checksum"));
    assert!(why(&a().raw(&header(b'V', b"f", b"", 0)).end()).contains("unknown type `V`"));
    assert!(why(&a().pax(b'x', &[("path", b"a\0b")]).file("f", "").end()).contains("NUL"));
    assert!(
        why(&a().raw(&header(b'x', b"x", b"", 5)).content(b"abcde").end())
            .contains("extended header is malformed")
    );
    let mut block = header(b'0', b"f", b"", 0);
    block[124] = 0xff;
    assert!(why(&a().raw(&seal(block)).end()).contains("size"));
    assert!(
        why(&a()
            .pax(b'x', &[("size", b"9223372036854775808")])
            .file("f", "")
            .end())
        .contains("impossible size")
    );
}

#[test]
fn long_headers_are_bounded() {
    let long = a().raw(&header(b'L', b"x", b"", 1 << 32)).end();
    assert!(why(&long).contains("at most 1048576"));
    let long = a().raw(&header(b'x', b"x", b"", (1 << 20) + 1)).end();
    assert!(why(&long).contains("at most 1048576"));
    let deep = "a/".repeat(2100);
    assert!(why(&a().long(b'L', deep.as_bytes()).file("f", "").end()).contains("more than 4096"));
}

#[test]
fn lists_are_bounded() {
    let many: Archive = (0..200).fold(a(), |archive, at| archive.file(format!("file{at}"), ""));
    let bytes = many.end();
    let small = Budget::new(20_000);
    let fault = read_layer(&*bytes, &plain(&bytes), &ContentFilter::default(), &small)
        .unwrap_err()
        .fault;
    assert!(
        matches!(fault, LayerErrorKind::Entries { limit: 20_000 }),
        "{fault}"
    );
    let deep = a().file("a/".repeat(1000) + "f", "").end();
    let fresh = Budget::new(20_000);
    assert!(
        read_layer(&*deep, &plain(&deep), &ContentFilter::default(), &fresh).is_err(),
        "each directory counts"
    );
    let shallow = a().file("a/f", "").end();
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
fn wanted_contents_are_kept_by_name_or_length() {
    let archive = a()
        .file("etc/passwd", "root:x:0:0")
        .file("a", "12345")
        .file("b", "123456")
        .hardlink("c", "a");
    let bytes = archive.file("big/passwd", vec![0; 2 << 20]).end();
    let want = ContentFilter {
        names: vec![b"passwd".to_vec()],
        lengths: vec![5],
    };
    let layer = read_layer(&*bytes, &plain(&bytes), &want, &budget()).unwrap();
    let tree = merge(&[layer], |_| {}).unwrap();
    let content = |path: &[u8]| match &tree.find(path).unwrap().inode.kind {
        FileType::File(content) => content.as_deref().map(<[u8]>::to_vec),
        _ => panic!("no file"),
    };
    assert_eq!(content(b"etc/passwd"), Some(b"root:x:0:0".to_vec()));
    assert_eq!(content(b"c"), Some(b"12345".to_vec()));
    assert_eq!(content(b"b"), None);
    assert_eq!(content(b"big/passwd"), None, "larger than what is kept");
}

/// Zeros that cost nothing to make.
struct Zeros(u64);

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let now = usize::try_from(self.0)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        buffer[..now].fill(0);
        self.0 -= now as u64;
        Ok(now)
    }
}

#[test]
fn layer_is_refused_when_it_inflates_beyond_its_limit() {
    let limit = 1000;
    let mut plain = super::super::stream::Plain::new(
        Zeros(4 << 20),
        "gzip",
        limit,
        super::super::sum::Sum::of(0),
    );
    let fault = plain.skip(2 << 20).unwrap_err();
    assert!(
        matches!(fault, LayerErrorKind::Inflates { limit: 1000 }),
        "{fault}"
    );
}
