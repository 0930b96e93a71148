//! Colors in text for a terminal.

use std::fmt::Write as _;

/// A color of the terminal's palette, or a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    Red,
    Green,
    Yellow,
    Cyan,
    Dim,
}

impl Color {
    /// The parameter of ECMA-48, "Select graphic rendition".
    fn parameter(self) -> u8 {
        match self {
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Cyan => 36,
            Self::Dim => 2,
        }
    }
}

/// Whether the destination of a text shows colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Palette {
    Colored,
    Plain,
}

impl Palette {
    /// Colors each line of `text`, so that a pager that cuts lines shows no color after the text.
    /// `text` is complete: its width with colors cannot be measured.
    pub(crate) fn paint(self, color: impl Into<Option<Color>>, text: &str) -> String {
        let (Self::Colored, Some(color)) = (self, color.into()) else {
            return text.to_owned();
        };
        let mut painted = String::new();
        for line in text.split_inclusive('\n') {
            let end = if line.ends_with('\n') { "\n" } else { "" };
            let line = line.strip_suffix('\n').unwrap_or(line);
            if line.is_empty() {
                painted.push_str(end);
            } else {
                let parameter = color.parameter();
                let _ = write!(painted, "\u{1b}[{parameter}m{line}\u{1b}[0m{end}");
            }
        }
        painted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_colored() {
        let text = "a\n\nb";
        let painted = "\u{1b}[33ma\u{1b}[0m\n\n\u{1b}[33mb\u{1b}[0m";
        assert_eq!(Palette::Colored.paint(Color::Yellow, text), painted);
        assert_eq!(Palette::Colored.paint(None, text), text);
        assert_eq!(Palette::Plain.paint(Color::Yellow, text), text);
    }
}
