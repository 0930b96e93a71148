//! The images of a Dockerfile: `FROM`, the defaults of its `ARG`s, `COPY --from`, mounts, and the syntax.
//!
//! Names of build stages, numbers and `scratch` are no images (docs.docker.com/reference/dockerfile).

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    path::Path,
};

use super::reference::{Unpinned, UnpinnedKind, name_in};
use crate::core::pins::reference::is_variable;

/// Whether a file is a Dockerfile, by its name.
pub(super) fn is_dockerfile(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let name = name.to_ascii_lowercase();
    ["dockerfile", "containerfile"].iter().any(|known| {
        name == *known
            || name
                .strip_prefix(known)
                .is_some_and(|rest| rest.starts_with(['.', '-']))
            || name
                .strip_suffix(known)
                .is_some_and(|rest| rest.ends_with('.'))
    })
}

/// The images without a digest, or the reason why the file cannot be read.
pub(super) fn find(text: &str) -> Result<Vec<Unpinned>, String> {
    let mut lines = Lines {
        text,
        // A byte-order mark is no part of the first line.
        at: text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len(),
        escape: '\\',
    };
    let mut found: Vec<_> = lines.directives().into_iter().collect();
    let joined = lines.join()?;
    let mut file = Dockerfile {
        text: &joined.text,
        arguments: HashMap::new(),
        defaults: Vec::new(),
        mixed: HashSet::new(),
        stages: HashSet::new(),
        found: Vec::new(),
    };
    file.read();
    found.extend(file.found.into_iter().map(|image| joined.in_source(image)));
    Ok(found)
}

struct Dockerfile<'t> {
    /// Of [`Joined`].
    text: &'t str,
    /// The bytes of the defaults of arguments before the first stage; `None` without a default.
    arguments: HashMap<&'t str, Option<Range<usize>>>,
    /// The arguments that are the base of a stage, with the offsets of their defaults.
    defaults: Vec<(&'t str, usize)>,
    /// The arguments that are also a part of another value, or the name of a stage.
    mixed: HashSet<&'t str>,
    /// The names of stages, in lower case.
    stages: HashSet<String>,
    found: Vec<Unpinned>,
}

impl<'t> Dockerfile<'t> {
    fn read(&mut self) {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let mut words = Vec::new();
            for word in line.split_inclusive([' ', '\t', '\n']) {
                let length = word.trim_end_matches([' ', '\t', '\n']).len();
                if length > 0 {
                    words.push(at..at + length);
                }
                at += word.len();
            }
            self.instruction(&words);
        }
        self.refuse_mixed();
    }

    fn instruction(&mut self, words: &[Range<usize>]) {
        let Some((first, mut rest)) = words.split_first() else {
            return;
        };
        let mut name = self.text[first.clone()].to_ascii_uppercase();
        if name == "ONBUILD"
            && let Some((second, after)) = rest.split_first()
        {
            name = self.text[second.clone()].to_ascii_uppercase();
            rest = after;
        }
        match name.as_str() {
            "ARG" => {
                for word in rest {
                    self.record_parts(word.clone());
                    if self.stages.is_empty() {
                        self.argument(word.clone());
                    }
                }
            }
            "FROM" => self.stage(rest),
            "COPY" => {
                for flag in self.flags(rest, "--from=") {
                    self.source(flag);
                }
            }
            "RUN" => {
                for flag in self.flags(rest, "--mount=") {
                    self.mount(flag);
                }
            }
            _ => {}
        }
    }

    /// The values of the flags with this beginning.
    fn flags(&self, words: &[Range<usize>], beginning: &str) -> Vec<Range<usize>> {
        let flags = words
            .iter()
            .take_while(|word| self.text[(*word).clone()].starts_with("--"));
        let values = flags.filter(|word| self.text[(*word).clone()].starts_with(beginning));
        values
            .map(|word| word.start + beginning.len()..word.end)
            .collect()
    }

    fn argument(&mut self, word: Range<usize>) {
        let text = &self.text[word.clone()];
        match text.split_once('=') {
            Some((name, value)) => {
                let value = self.unquoted(word.end - value.len()..word.end);
                self.arguments.insert(name, Some(value));
            }
            None => {
                self.arguments.entry(text).or_insert(None);
            }
        }
    }

    fn stage(&mut self, words: &[Range<usize>]) {
        let is_flag = |word: &Range<usize>| self.text[word.clone()].starts_with("--");
        let flags = words.iter().take_while(|word| is_flag(word)).count();
        let (flags, words) = words.split_at(flags);
        for flag in flags {
            self.record_parts(flag.clone());
        }
        let mut words = words.iter();
        let Some(base) = words.next() else {
            return;
        };
        let base = self.unquoted(base.clone());
        let text = &self.text[base.clone()];
        if let Some(name) = variable(text) {
            self.default_of(name, base);
        } else {
            self.record_parts(base.clone());
            // The default of an argument precedes that in `${NAME:-DEFAULT}`.
            let name = text
                .strip_prefix("${")
                .and_then(|rest| rest.split_once([':', '-']));
            if let Some((name, _)) = name
                && let Some(Some(_)) = self.arguments.get(name)
            {
                self.default_of(name, base.clone());
            }
            if !self.is_stage(&text[name_in(text)]) {
                self.add(base, true);
            }
        }
        let is_named = words
            .next()
            .is_some_and(|word| self.text[word.clone()].eq_ignore_ascii_case("as"));
        let name = words.next().filter(|_| is_named);
        let name = name.map(|word| self.text[word.clone()].to_ascii_lowercase());
        // An unnamed stage ends the arguments before the first stage as well.
        self.stages.insert(name.unwrap_or_default());
    }

    /// The base of a stage is the value of an argument.
    fn default_of(&mut self, name: &'t str, base: Range<usize>) {
        if let Some(default) = self.arguments.get(name).cloned().flatten() {
            if self.is_stage(&self.text[default.clone()]) {
                self.mixed.insert(name);
            } else {
                self.defaults.push((name, default.start));
                self.add(default, true);
            }
            return;
        }
        let reason = format!("the argument `{name}` has no default: the build supplies the image");
        let text = &self.text[base.clone()];
        let refused = UnpinnedKind::Refused(reason);
        self.found.push(Unpinned::new(base.start, text, refused));
    }

    fn is_stage(&self, name: &str) -> bool {
        let lower = name.to_ascii_lowercase();
        lower == "scratch" || self.stages.contains(&lower)
    }

    /// Records the arguments in a text that is more than one of them.
    fn record_parts(&mut self, at: Range<usize>) {
        for part in self.text[at].split('$').skip(1) {
            let name = part.strip_prefix('{').unwrap_or(part);
            let length = name.bytes().take_while(|byte| is_variable(*byte)).count();
            self.mixed.insert(&name[..length]);
        }
    }

    /// Refuses the defaults of arguments that have another use, which a digest would break.
    fn refuse_mixed(&mut self) {
        for (name, at) in &self.defaults {
            if !self.mixed.contains(name) {
                continue;
            }
            let reason = format!(
                "the argument `{name}` is also a part of another value or the name of a stage, which a digest would change"
            );
            for image in self.found.iter_mut().filter(|image| image.at == *at) {
                image.kind = UnpinnedKind::Refused(reason.clone());
            }
        }
    }

    /// The source of a copy or of a mount: a stage, its number, a context of the build, or an image.
    fn source(&mut self, at: Range<usize>) {
        let at = self.unquoted(at);
        let text = &self.text[at.clone()];
        if variable(text).is_none() {
            self.record_parts(at.clone());
        }
        if !self.is_stage(text) && !text.bytes().all(|byte| byte.is_ascii_digit()) {
            self.add(at, text.contains('/'));
        }
    }

    fn mount(&mut self, value: Range<usize>) {
        let mut start = value.start;
        for option in self.text[value].split(',') {
            if option.starts_with("from=") {
                self.source(start + "from=".len()..start + option.len());
            }
            start += option.len() + 1;
        }
    }

    fn add(&mut self, at: Range<usize>, is_image: bool) {
        // Several stages may use one argument.
        if self.found.iter().all(|found| found.at != at.start) {
            let text = &self.text[at.clone()];
            self.found
                .extend(Unpinned::in_text(at.start, text, is_image));
        }
    }

    fn unquoted(&self, word: Range<usize>) -> Range<usize> {
        let text = &self.text[word.clone()];
        let is_quoted = text.len() >= 2
            && (text.starts_with('"') && text.ends_with('"')
                || text.starts_with('\'') && text.ends_with('\''));
        if is_quoted {
            word.start + 1..word.end - 1
        } else {
            word
        }
    }
}

/// The name of the variable that is the whole text.
fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let name = name
        .strip_prefix('{')
        .and_then(|name| name.strip_suffix('}'))
        .unwrap_or(name);
    (!name.is_empty() && name.bytes().all(is_variable)).then_some(name)
}

/// The instructions, one on each line, without comments and here-documents.
#[derive(Default)]
struct Joined {
    text: String,
    /// In the order of the text.
    pieces: Vec<Piece>,
}

/// The part of an instruction on one line of the source.
struct Piece {
    /// The offset in the joined text.
    at: usize,
    /// The offset in the source.
    source: usize,
}

impl Joined {
    /// The piece with the byte at an offset.
    fn piece(&self, at: usize) -> &Piece {
        let after = self.pieces.partition_point(|piece| piece.at <= at);
        &self.pieces[after - 1]
    }

    /// An image of the joined text, with the offsets in the source.
    fn in_source(&self, mut image: Unpinned) -> Unpinned {
        let first = self.piece(image.at);
        let last = self.piece(image.at + image.text.len().saturating_sub(1));
        let source = |at: usize| first.source + (at - first.at);
        image.at = source(image.at);
        if first.at != last.at {
            let reason = "a line continuation splits it: write it on one line";
            image.kind = UnpinnedKind::Refused(reason.to_owned());
        } else if let UnpinnedKind::Pinnable(tagged) = &mut image.kind {
            let at = &mut tagged.insertion.at;
            *at = source(at.start)..source(at.end);
        }
        image
    }
}

/// The lines of a Dockerfile.
struct Lines<'t> {
    text: &'t str,
    at: usize,
    /// The character before the end of a line that continues.
    escape: char,
}

impl Lines<'_> {
    /// The next line without its end.
    fn peek(&self) -> Option<Range<usize>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').unwrap_or(rest.len());
        let length = rest[..length].trim_end_matches('\r').len();
        Some(self.at..self.at + length)
    }

    fn skip(&mut self, line: &Range<usize>) {
        let rest = &self.text[line.end..];
        self.at = rest
            .find('\n')
            .map_or(self.text.len(), |end| line.end + end + 1);
    }

    /// Reads the comments at the start of the file that are settings: the escape character, and the image of the
    /// syntax.
    fn directives(&mut self) -> Option<Unpinned> {
        let mut syntax = None;
        while let Some(line) = self.peek() {
            let comment = self.text[line.clone()].trim_start().strip_prefix('#');
            let Some((name, value)) = comment.and_then(|comment| comment.split_once('=')) else {
                break;
            };
            let start = line.end - value.trim_start().len();
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "escape" if value == "`" => self.escape = '`',
                "syntax" => syntax = Unpinned::in_text(start, value, true),
                "escape" | "check" => {}
                // Any other comment ends the settings.
                _ => break,
            }
            self.skip(&line);
        }
        syntax
    }

    /// Joins the lines of each instruction as `BuildKit` does, without its here-documents:
    /// <https://github.com/moby/buildkit/blob/master/frontend/dockerfile/parser/parser.go>.
    fn join(mut self) -> Result<Joined, String> {
        let mut joined = Joined::default();
        let mut start = 0;
        while let Some(line) = self.peek() {
            self.skip(&line);
            let text = self.text[line.clone()].trim_end();
            // Comments and empty lines do not end an instruction.
            if text.is_empty() || text.trim_start().starts_with('#') {
                continue;
            }
            let content = text.strip_suffix(self.escape);
            // An escaped escape character continues no line.
            let content = content.filter(|content| !content.ends_with(self.escape));
            joined.pieces.push(Piece {
                at: joined.text.len(),
                source: line.start,
            });
            joined.text.push_str(content.unwrap_or(text));
            if content.is_none() {
                let skipped = self.skip_documents(&joined.text[start..]);
                skipped.map_err(|reason| {
                    let source = joined.piece(start).source;
                    let line = 1 + self.text[..source].matches('\n').count();
                    format!("line {line}: {reason}")
                })?;
                joined.text.push('\n');
                start = joined.text.len();
            }
        }
        Ok(joined)
    }

    /// Skips the here-documents of an instruction.
    fn skip_documents(&mut self, instruction: &str) -> Result<(), String> {
        let name = instruction.split_whitespace().next().unwrap_or_default();
        if !["RUN", "COPY", "ADD", "ONBUILD"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            return Ok(());
        }
        for document in HereDocument::all(instruction)? {
            loop {
                let line = self
                    .peek()
                    .ok_or_else(|| format!("the here-document `{}` has no end", document.end))?;
                self.skip(&line);
                let line = &self.text[line];
                let line = if document.is_indented {
                    line.trim_start_matches('\t')
                } else {
                    line
                };
                if line == document.end {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A here-document.
struct HereDocument {
    /// The line after its last one.
    end: String,
    /// Whether tabs may precede that line.
    is_indented: bool,
}

impl HereDocument {
    /// Those of an instruction: `<<` at the beginning of a word that is not quoted, as `BuildKit` reads it. An error if
    /// the quotes have no end and there may be one.
    fn all(instruction: &str) -> Result<Vec<Self>, String> {
        let (mut found, mut word) = (Vec::new(), String::new());
        let (mut quote, mut is_escaped) = (None, false);
        for c in instruction.chars() {
            if quote.is_none() && !is_escaped && c.is_whitespace() {
                // Blanks may precede the name.
                if !word.ends_with("<<") {
                    found.extend(Self::from_word(&word));
                    word.clear();
                }
                continue;
            }
            word.push(c);
            if is_escaped {
                is_escaped = false;
            } else if c == '\\' && quote != Some('\'') {
                is_escaped = true;
            } else if quote == Some(c) {
                quote = None;
            } else if quote.is_none() && matches!(c, '"' | '\'') {
                quote = Some(c);
            }
        }
        let digits = |c: char| c.is_ascii_digit();
        let mut words = instruction.split_whitespace();
        if quote.is_some() && words.any(|word| word.trim_start_matches(digits).starts_with("<<")) {
            return Err("its quotes have no end, so `<<` may be in quotes".to_owned());
        }
        found.extend(Self::from_word(&word));
        Ok(found)
    }

    /// Of a whole word, with its quotes.
    fn from_word(word: &str) -> Option<Self> {
        let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = word.strip_prefix("<<")?;
        let (rest, is_indented) = match rest.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let end = rest.replace(['"', '\'', '\\'], "");
        (!end.is_empty() && !end.contains('<')).then_some(Self { end, is_indented })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(text: &str) -> Vec<String> {
        let found = find(text).unwrap().into_iter();
        let texts = found.map(|one| match one.kind {
            UnpinnedKind::Pinnable(_) => one.text,
            UnpinnedKind::Refused(_) => format!("!{}", one.text),
        });
        texts.collect()
    }

    #[test]
    fn bases_of_stages_are_images() {
        for (text, expected) in [
            ("FROM nginx", &["nginx"][..]),
            (
                "from --platform=$BUILDPLATFORM golang:1.23 AS build\nFROM Build\n",
                &["golang:1.23"],
            ),
            (
                "FROM \\\n  # comment\n  alpine:3 \\\n AS x\nFROM x",
                &["alpine:3"],
            ),
            ("FROM scratch\nFROM SCRATCH", &[]),
            ("FROM a@sha256:1\n", &[]),
            (
                "ARG BASE=node:22\nARG OTHER\nFROM ${BASE}\nFROM $BASE\nFROM $OTHER\nFROM $MORE",
                &["node:22", "!$OTHER", "!$MORE"],
            ),
            (
                "ARG BASE=\"node:22\" X='y:1'\nFROM ${BASE}\nFROM $X",
                &["node:22", "y:1"],
            ),
            // A digest at the end of a split reference would be that of its last part.
            (
                "FROM no\\\nde:22\nFR\\\n# x\n\nOM a:1 AS bui\\\nld\nFROM build\n FROM \\\r\n  b:1\\ \r\n",
                &["!node:22", "a:1", "b:1"],
            ),
            ("ARG B=a\\\n:1\nFROM $B\nFROM $\\\nB", &["!a:1"]),
            ("RUN echo \\\\\nFROM a:1", &["a:1"]),
            ("# escape=`\nRUN echo C:\\\nFROM a:1`\n AS x", &["a:1"]),
            // The default of an argument is built instead of that in the text.
            ("ARG B=a:1\nFROM ${B:-b:1}", &["!a:1", "${B:-b:1}"]),
            // The value of an argument may be the name of a stage, or no image at all.
            (
                "ARG VARIANT=prod\nFROM a:1 AS base\nFROM base AS prod\nFROM base AS dev\nFROM ${VARIANT}",
                &["a:1"],
            ),
            ("ARG BASE=Scratch\nFROM $BASE\nARG VARIANT", &[]),
            (
                "ARG V\nFROM a:1 AS prod\nFROM ${V:-prod}\nFROM ${V:-scratch}",
                &["a:1"],
            ),
            ("ARG V=b:1\nFROM $V AS x\nFROM $V AS y\nFROM x", &["b:1"]),
            ("ARG V=b\nFROM $V AS x\nFROM x AS b\nFROM $V", &["!b"]),
            // A digest would break the other value.
            (
                "ARG NODE=node:22\nFROM $NODE AS a\nFROM ${NODE}-alpine AS b",
                &["!node:22", "!${NODE}-alpine"],
            ),
            (
                "ARG NODE=node:22\nARG RUN=${NODE}-slim OTHER=b:1\nFROM $NODE AS a\nFROM $RUN\nFROM $OTHER",
                &["!node:22", "!${NODE}-slim", "b:1"],
            ),
            (
                "ARG NODE=node:22\nFROM x/$NODE\nFROM --platform=x \"$NODE\"",
                &["!x/$NODE", "!node:22"],
            ),
            (
                "ARG P=a:1\nFROM --platform=${P} b:1\nFROM $P",
                &["b:1", "!a:1"],
            ),
            (
                "ARG A=a:1\nFROM $A\nARG A\nCOPY --from=x/$A-b / /",
                &["!a:1", "!x/$A-b"],
            ),
            ("ARG A=a:1\nFROM $A\nRUN --mount=from=${A:-b} x", &["!a:1"]),
            (
                "ARG A=a:1\nFROM $A\nCOPY --from=$A / /\nRUN echo x$A",
                &["a:1"],
            ),
            ("ARG A=a:1 AB=b:1\nFROM $A\nFROM $AB", &["a:1", "b:1"]),
            ("ARG TAG=22\nFROM node:$TAG", &["!node:$TAG"]),
            ("FROM a:1\nARG BASE=b:1\nFROM $BASE", &["a:1", "!$BASE"]),
            (
                "FROM ${BASE:-node:22}\r\nFROM b:1\r\n",
                &["${BASE:-node:22}", "b:1"],
            ),
            ("# escape=`\nFROM a:1 `\n AS x\nFROM x\n", &["a:1"]),
            (
                "#syntax = docker/dockerfile:1\n# other\n# syntax=x:1\nFROM a:1",
                &["docker/dockerfile:1", "a:1"],
            ),
        ] {
            assert_eq!(images(text), expected, "{text}");
        }
    }

    #[test]
    fn sources_of_copies_and_mounts_are_images() {
        for (text, expected) in [
            (
                "FROM a:1 AS x\nCOPY --from=x . .\nCOPY --from=0 . .\nCOPY --chown=1 --from=b:2 . .",
                &["a:1", "b:2"][..],
            ),
            (
                "FROM a:1\nCOPY --from=assets . .\nCOPY --from=ghcr.io/acme/b . .",
                &["a:1", "ghcr.io/acme/b"],
            ),
            (
                "FROM a:1\nRUN --mount=type=bind,from=b:2,target=/b --mount=type=cache,target=/c x --mount=from=c:3",
                &["a:1", "b:2"],
            ),
            (
                "FROM a:1\nONBUILD COPY --from=b:2 . .\nCOPY x --from=c:3",
                &["a:1", "b:2"],
            ),
            (
                "FROM a:1\nRUN <<EOF\nFROM b:2\nEOF\nCOPY <<-'X' <<Y /z\nFROM c:3\n\tX\nFROM d:4\nY\nFROM e:5",
                &["a:1", "e:5"],
            ),
            (
                "FROM a:1\nRUN echo \"cat <<EOF\" > /x\nRUN echo 'a \\' \"b \\\" <<X\" \\<<Y z\\ <<Z\nFROM b:2",
                &["a:1", "b:2"],
            ),
            (
                "FROM a:1\nRUN cat <<\"A B\" \\\n  && echo it\\'s 3<<C\nFROM b:2\nA B\nFROM c:3\nC\nFROM d:4",
                &["a:1", "d:4"],
            ),
            (
                "FROM a:1\nRUN echo it's $((1<<2))\nFROM b:2",
                &["a:1", "b:2"],
            ),
            (
                "\u{feff}# syntax=b:2\nFROM a:1 AS x\nFROM x",
                &["b:2", "a:1"],
            ),
            ("FROM a:1\nRUN x <<< y $((1<<2))\nFROM b:2", &["a:1", "b:2"]),
            (
                "FROM a:1\nRUN cat << EOF <<-\tX\nFROM b:2\nEOF\nFROM c:3",
                &["a:1", "c:3"],
            ),
            (
                "FROM a:1\nRUN cat <\\\n<EOF\nFROM b:2\nEOF\nFROM c:3",
                &["a:1", "c:3"],
            ),
        ] {
            assert_eq!(images(text), expected, "{text}");
        }
    }

    #[test]
    fn here_documents_without_an_end_are_an_error() {
        for (text, expected) in [
            (
                "FROM a:1\nRUN <<EOF\nFROM b:2\nEOF x",
                "line 2: the here-document `EOF`",
            ),
            (
                "FROM a:1\nCOPY <<A <<B /x\nA\nA",
                "line 2: the here-document `B`",
            ),
            ("RUN cat <<EOF", "line 1: the here-document `EOF`"),
            ("\nRUN echo it's <<EOF\nFROM b:2\nEOF", "line 2: its quotes"),
            (
                "RUN x=\"$(cat <<EOF\nFROM b:2\nEOF\n)\"",
                "line 1: its quotes",
            ),
        ] {
            let reason = find(text).unwrap_err();
            assert!(reason.contains(expected), "{text}: {reason}");
        }
    }

    #[test]
    fn byte_order_mark_moves_the_digest() {
        let found = find("\u{feff}FROM a:1\n").unwrap();
        let UnpinnedKind::Pinnable(image) = &found[0].kind else {
            unreachable!("the reference is complete");
        };
        assert_eq!((found[0].at, image.insertion.at.start), (8, 11));
    }

    #[test]
    fn dockerfiles_are_recognized_by_name() {
        for name in [
            "Dockerfile",
            "a/Containerfile",
            "Dockerfile.dev",
            "app.Dockerfile",
            "x.dockerfile",
            "Dockerfile-ci",
        ] {
            assert!(is_dockerfile(Path::new(name)), "{name}");
        }
        for name in [
            "Dockerfiles",
            "dockerfile_lint.yaml",
            "my-dockerfile",
            "compose.yaml",
        ] {
            assert!(!is_dockerfile(Path::new(name)), "{name}");
        }
    }
}
