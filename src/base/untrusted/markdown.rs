//! Escapes external text for Markdown, without mentions, links and markup.

use reqwest::Url;

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

/// A link to a page, or only the text if the address is not that of a page or could end the link.
pub(crate) fn link(text: &str, url: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !"<>()[]{}|\\`\"'*".contains(c);
    match page(url) {
        Some(_) if url.chars().all(is_plain) => format!("[{}]({url})", inline(text)),
        _ => inline(text),
    }
}

/// A link that shows its address, or escaped inline text if it is not the address of a page.
pub(crate) fn autolink(text: &str) -> String {
    match page(text) {
        // The parser encodes white space, quotes and angle brackets.
        Some(url) => format!("<{url}>"),
        None => inline(text),
    }
}

/// The address of a page on the web, without a password.
fn page(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.password().is_none()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_pages_are_links() {
        for (text, shown) in [
            (
                "https://ci.example/1?a=<b> c",
                "<https://ci.example/1?a=%3Cb%3E%20c>",
            ),
            ("http://ci.example", "<http://ci.example/>"),
            ("javascript:alert(1)", "javascript:alert(1)"),
            (
                "https://ada:x@ci.example",
                "https:\u{200b}//\\*\\*\\*@\u{200b}ci.example",
            ),
            ("ci.example/1", "ci.example/1"),
        ] {
            assert_eq!(autolink(text), shown);
        }
    }

    #[test]
    fn mentions_and_links_are_neutralized() {
        assert_eq!(
            inline("@acme/team #12 <b> [x](http://y)"),
            "@\u{200b}acme/team #\u{200b}12 \\<b\\> \\[x\\](http:\u{200b}//y)"
        );
        assert_eq!(inline("a\nb\u{202e}"), "a\\\\u{a}b\\\\u{202e}");
    }

    #[test]
    fn only_plain_pages_are_linked() {
        assert_eq!(
            link("a|b", "https://ci.example/x_y?z=1#a~b"),
            "[a\\|b](https://ci.example/x_y?z=1#a~b)"
        );
        for url in [
            "javascript:alert(1)",
            "https://x.example/a)b",
            "https://x.example/a b",
            "https://x.example/a|b",
            "https://x.example/<b>",
            "https://x.example/\u{e9}",
            "https://ada:secret@x.example",
            "",
        ] {
            assert_eq!(link("text", url), "text", "{url}");
        }
    }

    #[test]
    fn backticks_do_not_end_a_code_span() {
        assert_eq!(code("plain"), "`plain`");
        assert_eq!(code("a`b``c|d\ne"), "``` a`b``c\\|d\\u{a}e ```");
        assert_eq!(code(""), "(empty)");
    }
}
