//! Escapes external text for Markdown, without mentions, links and markup.

use super::code_points;

/// Inline text: escapes markup, and inserts a zero-width space into mentions, references and links.
pub(crate) fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in code_points(text).chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '~' | '!' => {
                out.extend(['\\', c]);
            }
            '@' | '#' => out.extend([c, '\u{200b}']),
            c => out.push(c),
        }
    }
    out.replace("://", ":\u{200b}//")
        .replace("www.", "www\u{200b}.")
        .replace("GH-", "GH\u{200b}-")
}

/// A code span that backticks in the text cannot end; valid in a table cell.
pub(crate) fn code(text: &str) -> String {
    let text = code_points(text).replace('|', "\\|");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    if text.is_empty() {
        "(empty)".to_owned()
    } else if longest > 0 {
        format!("{fence} {text} {fence}")
    } else {
        format!("{fence}{text}{fence}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_and_links_are_neutralized() {
        assert_eq!(
            inline("@acme/team #12 <b> [x](http://y)"),
            "@\u{200b}acme/team #\u{200b}12 \\<b\\> \\[x\\](http:\u{200b}//y)"
        );
        assert_eq!(inline("a\nb\u{202e}"), "a\\\\u{a}b\\\\u{202e}");
    }

    #[test]
    fn backticks_do_not_end_a_code_span() {
        assert_eq!(code("plain"), "`plain`");
        assert_eq!(code("a`b``c|d\ne"), "``` a`b``c\\|d\\u{a}e ```");
        assert_eq!(code(""), "(empty)");
    }
}
