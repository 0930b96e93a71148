//! The token of requests to a forge.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::git::Login;

/// A token: no `Display`, and `Debug` does not show it.
///
/// Without a text, requests are anonymous.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Option<String>);

/// The syntax error of a malformed token; never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is empty")]
    Empty,
    /// It does not fit into a header.
    #[error("the token contains white space, a control character, or a non-ASCII character")]
    Character,
}

impl Token {
    /// No token, for public repositories.
    pub(crate) const ANONYMOUS: Self = Self(None);

    /// The token in `text`, without the final line break of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::Character);
        }
        Ok(Self(Some(text.to_owned())))
    }

    /// The text, for the one header that contains it; `None` for anonymous requests.
    pub(super) fn expose(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The token as a password for git at `url`; `None` without a token, or if the URL is not HTTP.
    pub(crate) fn git_login(&self, url: &str) -> Result<Option<Login>, &'static str> {
        match &self.0 {
            Some(token) => Login::new(url, token),
            None => Ok(None),
        }
    }

    /// Whether the token is of a kind with scopes: GitHub does not report the permissions of other
    /// tokens (GitHub Docs, "GitHub's token formats"; before 2021 classic tokens were 40 hexadecimal
    /// digits).
    pub(super) fn has_scopes(&self) -> bool {
        let text = self.0.as_deref().unwrap_or_default();
        let old = text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
        old || ["ghp_", "gho_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The properties of a token that this process has read and that are the same for all repositories;
/// clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenFacts {
    /// Whether the token belongs to the installation of an app.
    installation: Arc<Mutex<Option<bool>>>,
}

impl TokenFacts {
    pub(super) fn installation(&self) -> Option<bool> {
        *self
            .installation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_installation(&self, installation: bool) {
        *self
            .installation
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(installation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_one_ascii_word() {
        assert_eq!(Token::parse("abc\n").unwrap().expose(), Some("abc"));
        assert_eq!(Token::parse(" \n"), Err(TokenError::Empty));
        for bad in ["a b", "a\nb", "a\u{7f}", "ä"] {
            assert_eq!(Token::parse(bad), Err(TokenError::Character), "{bad:?}");
        }
    }

    #[test]
    fn classic_tokens_have_scopes() {
        for (text, has_scopes) in [
            ("ghp_x", true),
            ("gho_x", true),
            ("0123456789abcdef0123456789abcdef01234567", true),
            ("github_pat_x", false),
            ("ghs_x", false),
            ("ghu_x", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(
                Token::parse(text).unwrap().has_scopes(),
                has_scopes,
                "{text}"
            );
        }
    }

    #[test]
    fn debug_output_hides_the_token() {
        let token = Token::parse("s3cret").unwrap();
        assert_eq!(format!("{token:?} {:?}", Some(&token)), "*** Some(***)");
    }
}
