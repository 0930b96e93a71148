//! Untrusted text: the guarantees of each escaping.

use super::text;
use crate::base::untrusted::{
    Secrets, block, code_points, has_credential, is_hidden, json, markdown, plain, short, tail,
    width, workflow,
};

/// Escaped texts contain no hidden character, no command, no secret, and are not longer than
/// allowed.
pub fn escapes(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let (first, rest) = text.split_once('\n').unwrap_or((text, text));
    let line = plain(text);
    assert!(!line.contains(is_hidden));
    assert_eq!(plain(&line), line);
    assert!(!code_points(text).contains(is_hidden));
    for columns in [1, 7, 80] {
        let (start, end) = (short(text, columns), tail(text, columns));
        for cut in [&start, &end] {
            assert!(!cut.contains(is_hidden));
            assert!(width(cut) <= columns + 1 && cut.chars().count() <= 4 * columns + 1);
        }
        assert!(line.starts_with(start.trim_end_matches('…')));
        assert!(line.ends_with(end.trim_start_matches('…')));
    }
    for colours in [false, true] {
        let shown = block(text, colours);
        let escapes = shown.matches('\u{1b}').count();
        assert!(colours || escapes == 0);
        let hidden = |c: char| is_hidden(c) && !matches!(c, '\n' | '\t' | '\u{1b}');
        assert!(!shown.contains(hidden));
        assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
        inert(&workflow::inert(text, colours));
    }
    written(text);
    redacted(first, rest);
}

/// Text that a runner of GitHub Actions does not treat as a command.
fn inert(shown: &str) {
    assert!(!shown.contains("##[") && !shown.contains('\r'));
    for line in shown.split('\n') {
        assert!(!line.trim_start().starts_with("::"), "{line:?}");
    }
}

/// Markdown, documents and annotations.
fn written(text: &str) {
    let inline = markdown::inline(text);
    let hidden = |c: char| is_hidden(c) && c != '\u{200b}';
    assert!(!inline.contains(hidden) && !inline.contains("://") && !inline.contains("www."));
    let unescaped = inline
        .replace("\\\\", "")
        .replace("\\<", "")
        .replace("\\`", "");
    assert!(!unescaped.contains('<') && !unescaped.contains('`'));
    let code = markdown::code(text);
    assert!(!code.contains(is_hidden));
    let fence = code.bytes().take_while(|byte| *byte == b'`').count();
    if !text.is_empty() {
        let inside = &code[fence..code.len() - fence];
        let longest = inside.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        assert!(
            fence > longest && code.ends_with(&"`".repeat(fence)),
            "{code:?}"
        );
    }
    let document = serde_json::json!({ "text": text });
    let mut shown = Vec::new();
    json(&document, &mut shown).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
        document
    );
    assert!(!shown.contains(is_hidden) && !shown.contains("##["));
    let place = workflow::AnnotationPlace {
        file: text,
        line: 1,
        column: 1,
    };
    let command = workflow::Commands::error(text, text, Some(place)).to_string();
    assert_eq!(command.matches('\n').count(), 1);
    assert!(command.ends_with('\n') && !command.contains('\r'));
}

/// Redacted text does not contain the secret, and text without a secret or a credential is unchanged.
fn redacted(secret: &str, text: &str) {
    let secrets = Secrets::default();
    if !has_credential(text) {
        assert_eq!(secrets.redact(text), text);
    }
    if secret.len() < 8 {
        return;
    }
    secrets.hide(secret);
    let message = format!("{text}{secret}{text}");
    let shown = secrets.redact(&message);
    // Stars replace a secret; a secret of stars cannot be distinguished from them.
    if !secret.contains('*') {
        assert!(!shown.contains(secret), "{shown:?}");
    }
    assert!(!secrets.clean(&message, 80).contains(is_hidden));
}
