//! Large documents.

use super::*;

#[test]
fn overlong_line_of_a_comment_is_refused() {
    let long = format!("{} OLD # repin: app\n", "x".repeat(9_000));
    let below = format!("# repin: app\n{} OLD\n", "x".repeat(9_000));
    for (line, column) in [(long, 9_076), (below, 3)] {
        let scan = marked().scan(text(&line).as_bytes());
        let refused = &scan.refused[0];
        assert_eq!((refused.line, refused.column), (1, column));
        assert!(refused.reason.contains("longer than 8192 bytes"));
    }
}

#[test]
fn excessive_values_or_merges_are_refused() {
    let entry = "i: { repository: nginx, digest: OLD }\n";
    let values = format!("{entry}x: [{}]\n", "a,".repeat(500_000));
    helm().refuses(&values, "1:33", "more than 500000 values");
    // Seven values of the entry, and a key with its list.
    let full = |items: usize| format!("{entry}x: [{}]\n", "a,".repeat(items));
    assert_eq!(helm().found(&full(500_000 - 9)), "hub /i/digest -");
    helm().refuses(&full(500_000 - 8), "1:33", "more than 500000 values");
    // The limit applies to each document.
    let several = format!("{entry}x: [{}]\n---\n", "a,".repeat(260_000)).repeat(2);
    assert_eq!(helm().found(&several).lines().count(), 2);
    let merges = |levels: usize| {
        use std::fmt::Write as _;
        let mut merges = "m0: &m0 { repository: nginx }\n".to_owned();
        for at in 1..levels {
            let _ = writeln!(merges, "m{at}: &m{at} {{ <<: *m{} }}", at - 1);
        }
        // No result of an earlier query is reused, because the entry is read first.
        merges + &format!("i: {{ <<: *m{}, digest: OLD }}\n", levels - 1)
    };
    helm().refuses(&merges(64), "65:6", "the merge key `<<` provides");
    helm().refuses(&merges(65), "66:24", "merges are nested deeper than 64");
    // A merge of itself supplies nothing.
    helm().ignores("i: &i { <<: *i, digest: OLD, registry: nginx }\n");
}

#[test]
fn keys_too_long_for_a_pointer_are_refused() {
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
fn large_mappings_are_searched_like_small_ones() {
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
