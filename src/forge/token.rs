//! The token that a forge is asked with.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// A token: no `Display`, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is not a token; never with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing but white space.
    #[error("the token is empty")]
    Empty,
    /// Not what fits into a header.
    #[error("the token contains white space, a control character, or a non-ASCII character")]
    Character,
}

impl Token {
    /// The token in `text`, without the line break that a file ends with.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text, for the one header that carries it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is of a kind that has scopes: GitHub does not report what others may do, and lists
    /// no scopes for them (GitHub Docs, "GitHub's token formats"; before 2021
    /// they were 40 hexadecimal digits).
    pub(super) fn has_scopes(&self) -> bool {
        let old = self.0.len() == 40 && self.0.bytes().all(|b| b.is_ascii_hexdigit());
        old || ["ghp_", "gho_"]
            .iter()
            .any(|prefix| self.0.starts_with(prefix))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What holds for a token in all repositories, as this process read it; clones share it.
#[derive(Debug, Clone, Default)]
pub struct TokenFacts(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
struct Facts {
    /// Whether the token is an app's.
    installation: Option<bool>,
}

impl TokenFacts {
    fn with<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn installation(&self) -> Option<bool> {
        self.with(|facts| facts.installation)
    }

    pub(super) fn keep_installation(&self, installation: bool) {
        self.with(|facts| facts.installation = Some(installation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_of_ascii() {
        assert_eq!(Token::parse("abc\n").unwrap().expose(), "abc");
        assert_eq!(Token::parse(" \n"), Err(TokenError::Empty));
        for bad in ["a b", "a\nb", "a\u{7f}", "ä"] {
            assert_eq!(Token::parse(bad), Err(TokenError::Character), "{bad:?}");
        }
    }

    #[test]
    fn classic_tokens_have_scopes() {
        for (text, has) in [
            ("ghp_x", true),
            ("gho_x", true),
            ("0123456789abcdef0123456789abcdef01234567", true),
            ("github_pat_x", false),
            ("ghs_x", false),
            ("ghu_x", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(Token::parse(text).unwrap().has_scopes(), has, "{text}");
        }
    }

    #[test]
    fn it_is_never_shown() {
        let token = Token::parse("s3cret").unwrap();
        assert_eq!(format!("{token:?} {:?}", Some(&token)), "*** Some(***)");
    }
}
