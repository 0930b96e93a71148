//! Files that are too large to be parsed: read part by part, with the same pins and refusals.

use std::io::{self, Cursor};

use super::*;
use crate::pins::chunk::CHUNK;

/// What the parts of a content show.
fn in_parts(scene: &Scene, content: &[u8]) -> Scan {
    let path = RelPath::parse(scene.file).unwrap();
    let looking = scene.scanner.looking(&path, &|_| false);
    let mut buffer = Vec::new();
    scene
        .scanner
        .scan_parts(content, &looking, &mut buffer)
        .unwrap()
}

#[test]
fn parts_show_the_marked_lines_that_the_whole_does() {
    let lines = text(
        "x = ghcr.io/acme/app:rev-1@OLD\n# repin: app\nARG D=OLD\nimage = \"y:rev-1@OLD\" # repin: web\nOLD OLD # repin: app\nghcr.io/acme/web@OLD # repin: app\nghcr.io/acme/app@OLD # repin: app\n-- repin: hub\nx\n",
    );
    for back in (0..lines.len() + 20).step_by(3) {
        let mut content = vec![b'\n'; CHUNK - back];
        content.extend(lines.as_bytes());
        content.extend(vec![b'-'; 2 * CHUNK - back]);
        content.push(b'\n');
        content.extend(lines.as_bytes());
        let whole = marked().scan(&content);
        assert_eq!(in_parts(&marked(), &content), whole, "{back}");
        assert_eq!((whole.pins.len(), whole.refused.len()), (10, 6), "{back}");
    }
}

#[test]
fn a_line_that_is_too_long_for_its_comment_is_refused_wherever_a_part_ends() {
    let long = format!("{} OLD # repin: app\n", "x".repeat(9_000));
    let below = format!("# repin: app\n{} OLD\n", "x".repeat(9_000));
    for (line, column) in [(long, 9_076), (below, 3)] {
        let line = text(&line);
        for back in (0..line.len()).step_by(700) {
            let mut content = vec![b'\n'; 2 * CHUNK - back];
            content.extend(line.as_bytes());
            content.extend(vec![b'\n'; CHUNK]);
            let scan = in_parts(&marked(), &content);
            assert_eq!(scan, marked().scan(&content));
            let refused = &scan.refused[0];
            assert_eq!(
                (refused.line, refused.column),
                (2 * CHUNK - back + 1, column)
            );
            assert!(refused.why.contains("longer than 8192 bytes"));
        }
    }
}

/// More than is parsed, between two texts.
fn large(before: &str, after: &str) -> Vec<u8> {
    let mut content = text(before).into_bytes();
    content.extend("# a line of a large file\n".repeat(LARGEST / 20).bytes());
    content.extend(text(after).bytes());
    content
}

#[test]
fn a_large_file_is_refused_at_its_first_digest_that_is_not_counted() {
    let both = || scene("helm: {}, marked: {}", "values.yaml");
    let why = "larger than 4 MiB";
    let refusal = |content: &[u8]| {
        let scan = both().scan(content);
        let of = scan.refused.iter().map(|refused| {
            assert!(refused.why.contains(why), "{}", refused.why);
            assert!(refused.text.starts_with("sha256:"));
            (refused.image, refused.line, refused.column)
        });
        of.collect::<Vec<_>>()
    };
    let lines = LARGEST / 20;
    assert_eq!(
        refusal(&large("a: OLD\n", "b: acme/app\n")),
        [(Some(0), 1, 4)]
    );
    assert_eq!(
        refusal(&large("b: ghcr.io/acme/web, nginx\n", "a: OLD\nb: OLD\n")),
        [(Some(1), lines + 2, 4)]
    );
    // Whole and marked pins are counted, and other names are nobody's.
    for (before, after) in [
        ("ghcr.io/acme/app@OLD\n", "x: OLD # repin: app\n"),
        ("# repin: app\nOLD\n", "ghcr.io/acme/app@OLD\n"),
        ("a: OLD\n", "acme/application\n"),
        ("a: OLD\n", "acme/app-x\n"),
        ("a: OLD\n", "my-acme/app\n"),
        ("a: sha512:HEX\n", "acme/app HEX\n"),
    ] {
        let content = large(before, after);
        assert_eq!(refusal(&content), []);
        // The same where a part ends between the digest and its comment.
        assert_eq!(in_parts(&both(), &content), both().scan(&content));
    }
    // It comes before what a comment refuses behind it.
    let content = large("a: OLD, acme/app\n", "x # repin: app\n");
    let lines_of = both().scan(&content).refused;
    let lines_of: Vec<_> = lines_of.iter().map(|refused| refused.line).collect();
    assert_eq!(lines_of, [1, lines + 2]);
    let content = [large("acme/app\n", "a: sha256:"), wide()].concat();
    assert_eq!(refusal(&content), []);
    assert_eq!(
        refusal(&large(
            "ghcr.io/acme/app@OLD\n# repin: app\nOLD\n",
            "a: OLD # no\n"
        )),
        [(Some(0), lines + 4, 4)]
    );
}

#[test]
fn a_digest_is_marked_wherever_a_part_ends_between_it_and_its_comment() {
    let both = scene("helm: {}, marked: {}", "values.yaml");
    let line = text("ghcr.io/acme/app # repin: app\nx: OLD\ny: OLD # repin: web\n")
        .replace("ghcr.io/acme/app # repin: app", "# repin: app");
    for back in (0..line.len() + 70).step_by(5) {
        let mut content = vec![b'\n'; CHUNK - back];
        content.extend(b"acme/app\n");
        content.extend(line.as_bytes());
        content.extend(vec![b'\n'; 3 * CHUNK]);
        let scan = in_parts(&both, &content);
        assert_eq!((scan.pins.len(), scan.refused.len()), (2, 0), "{back}");
    }
}

#[test]
fn a_large_file_is_never_in_memory_as_a_whole() {
    let scene = scene("helm: {}, marked: {}", "values.yaml");
    let looking = scene
        .scanner
        .looking(&RelPath::parse(scene.file).unwrap(), &|_| false);
    let begin = text("a: acme/app\nx: OLD # repin: app\n");
    let reader = Cursor::new(begin).chain(io::repeat(b'\n').take(4 * LARGEST as u64));
    let mut buffer = Vec::new();
    let scan = scene
        .scanner
        .scan_reader(reader, &looking, &mut buffer)
        .unwrap();
    assert_eq!((scan.pins.len(), scan.refused.len()), (1, 0));
    assert!(buffer.capacity() < 2 * LARGEST, "{}", buffer.capacity());
}

#[test]
fn the_largest_file_that_is_parsed_is() {
    let entry = text("i: { repository: nginx, digest: OLD }\n#");
    let content = entry.clone() + &"x".repeat(LARGEST - entry.len());
    let scanner = helm().scanner;
    let looking = scanner.looking_everywhere();
    let ways = [(scanner.clone(), looking.clone())];
    for (content, expected) in [(content.clone(), (1, 0)), (content + "x", (0, 1))] {
        let bytes = content.as_bytes();
        let held = |scan: &Scan| (scan.pins.len(), scan.refused.len());
        assert_eq!(held(&helm().scan(bytes)), expected);
        let read = scanner.scan_reader(bytes, &looking, &mut Vec::new());
        assert_eq!(held(&read.unwrap()), expected);
        let read = read_in_ways(bytes, &ways, &mut Vec::new());
        assert_eq!(held(&read.unwrap().scans[0]), expected);
    }
}

#[test]
fn a_document_of_too_many_values_or_merges_is_refused() {
    let entry = "i: { repository: nginx, digest: OLD }\n";
    let values = format!("{entry}x: [{}]\n", "a,".repeat(500_000));
    helm().refuses(&values, "1:33", "more than 500000 values");
    // Seven of the entry, and a key with its list.
    let full = |items: usize| format!("{entry}x: [{}]\n", "a,".repeat(items));
    assert_eq!(helm().found(&full(500_000 - 9)), "hub /i/digest -");
    helm().refuses(&full(500_000 - 8), "1:33", "more than 500000 values");
    // Each document by itself may have as many.
    let several = format!("{entry}x: [{}]\n---\n", "a,".repeat(260_000)).repeat(2);
    assert_eq!(helm().found(&several).lines().count(), 2);
    let merges = |levels: usize| {
        use std::fmt::Write as _;
        let mut merges = "m0: &m0 { repository: nginx }\n".to_owned();
        for at in 1..levels {
            let _ = writeln!(merges, "m{at}: &m{at} {{ <<: *m{} }}", at - 1);
        }
        // Those above keep nothing in mind for it: it stands before them.
        merges + &format!("i: {{ <<: *m{}, digest: OLD }}\n", levels - 1)
    };
    helm().refuses(&merges(64), "65:6", "the merge key `<<` brings");
    helm().refuses(&merges(65), "66:24", "merges are nested deeper than 64");
    // A merge of itself brings nothing.
    helm().ignores("i: &i { <<: *i, digest: OLD, registry: nginx }\n");
}

#[test]
fn keys_that_are_too_long_for_a_pointer_are_refused() {
    let key = "k".repeat(1_024);
    helm().refuses(
        &format!("{key}: {{ repository: nginx, digest: OLD }}\n"),
        "1:1056",
        "more than 1024 bytes",
    );
    let key = &key[..1_024 - "//digest".len()];
    assert_eq!(
        helm().found(&format!("{key}: {{ repository: nginx, digest: OLD }}\n")),
        format!("hub /{key}/digest -")
    );
}

#[test]
fn large_mappings_are_looked_up_as_small_ones_are() {
    use std::fmt::Write as _;
    let mut content = String::new();
    for at in 0..40 {
        let _ = writeln!(
            content,
            "k{}: {{ repository: nginx, digest: OLD }}",
            at * 7 % 40
        );
    }
    let found = helm().found(&content);
    let expected = (0..40).map(|at| format!("hub /k{}/digest -", at * 7 % 40));
    assert_eq!(found, expected.collect::<Vec<_>>().join("\n"));
    helm().refuses(
        &format!("{content}k3: {{}}\n"),
        "41:1",
        "duplicate key `k3`",
    );
    helm().refuses(
        &format!("{content}global: {{ imageRegistry: r.example }}\n"),
        "1:34",
        "global.imageRegistry",
    );
}

#[test]
fn a_content_of_any_size_is_read_in_several_ways_at_once() {
    let looking = |scene: &Scene| {
        let path = RelPath::parse(scene.file).unwrap();
        (
            scene.scanner.clone(),
            scene.scanner.looking(&path, &|_| false),
        )
    };
    let plain = FileScanner::plain(helm().scanner.finder);
    let ways = [
        looking(&helm()),
        looking(&marked()),
        (plain, Looking::default()),
    ];
    let begin =
        "i: { repository: nginx, digest: OLD }\nx: ghcr.io/acme/app@NEW\n# repin: web\ny: OLD\n";
    let end = "z: ghcr.io/acme/app@OLD\n";
    for content in [
        text(&format!("{begin}{end}")).into_bytes(),
        large(begin, end),
    ] {
        let read = read_in_ways(content.as_slice(), &ways, &mut Vec::new()).unwrap();
        let held = read.scans.iter();
        let held: Vec<_> = held
            .map(|scan| (scan.pins.len(), scan.refused.len()))
            .collect();
        let whole = content.len() <= LARGEST;
        let of_helm = if whole { (3, 0) } else { (2, 1) };
        assert_eq!(held, [of_helm, (3, 0), (2, 0)]);
        assert_eq!(read.mentions.len(), 2);
    }
}
