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

/// The images without a digest.
pub(super) fn find(text: &str) -> Vec<Unpinned> {
    let mut file = Dockerfile {
        text,
        arguments: HashMap::new(),
        defaults: Vec::new(),
        mixed: HashSet::new(),
        stages: HashSet::new(),
        found: Vec::new(),
    };
    let mut lines = Lines {
        text,
        // A byte-order mark is no part of the first line.
        at: text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len(),
        escape: '\\',
    };
    file.directives(&mut lines);
    while let Some(words) = lines.instruction() {
        file.instruction(&words);
    }
    file.refuse_mixed();
    file.found
}

struct Dockerfile<'t> {
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
    /// Reads the comments at the start of the file that are settings.
    fn directives(&mut self, lines: &mut Lines<'t>) {
        while let Some(line) = lines.peek() {
            let (name, value) = match self.text[line.clone()].trim_start().strip_prefix('#') {
                Some(comment) => comment.split_once('=').unwrap_or_default(),
                None => return,
            };
            let start = line.end - value.len();
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "escape" if value == "`" => lines.escape = '`',
                "syntax" => {
                    let blanks = self.text[start..line.end].len()
                        - self.text[start..line.end].trim_start().len();
                    self.add(start + blanks..start + blanks + value.len(), true);
                }
                "escape" | "check" => {}
                // Any other comment ends the settings.
                _ => return,
            }
            lines.skip(&line);
        }
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

    /// The words of the next instruction, without its here-documents.
    fn instruction(&mut self) -> Option<Vec<Range<usize>>> {
        let mut words = Vec::new();
        loop {
            let Some(line) = self.peek() else {
                return (!words.is_empty()).then_some(words);
            };
            self.skip(&line);
            let text = self.text[line.clone()].trim_end();
            // Comments and empty lines do not end an instruction.
            if text.is_empty() || text.trim_start().starts_with('#') {
                continue;
            }
            let content = text.strip_suffix(self.escape);
            let mut start = line.start;
            for word in content.unwrap_or(text).split([' ', '\t']) {
                if !word.is_empty() {
                    words.push(start..start + word.len());
                }
                start += word.len() + 1;
            }
            if content.is_none() {
                break;
            }
        }
        self.skip_documents(&words);
        Some(words)
    }

    /// Skips the here-documents of an instruction.
    fn skip_documents(&mut self, words: &[Range<usize>]) {
        let name = words
            .first()
            .map(|word| self.text[word.clone()].to_ascii_uppercase());
        if !matches!(name.as_deref(), Some("RUN" | "COPY" | "ADD" | "ONBUILD")) {
            return;
        }
        for word in words {
            let text = self.text[word.clone()].trim_start_matches(|c: char| c.is_ascii_digit());
            let Some(rest) = text.strip_prefix("<<").filter(|rest| !rest.contains('<')) else {
                continue;
            };
            let (rest, is_indented) = match rest.strip_prefix('-') {
                Some(rest) => (rest, true),
                None => (rest, false),
            };
            let end = rest.trim_matches(['"', '\'']);
            while !end.is_empty()
                && let Some(line) = self.peek()
            {
                self.skip(&line);
                let line = &self.text[line];
                let line = if is_indented {
                    line.trim_start_matches('\t')
                } else {
                    line
                };
                if line == end {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(text: &str) -> Vec<String> {
        let found = find(text).into_iter();
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
                "\u{feff}# syntax=b:2\nFROM a:1 AS x\nFROM x",
                &["b:2", "a:1"],
            ),
            ("FROM a:1\nRUN x <<< y $((1<<2))\nFROM b:2", &["a:1", "b:2"]),
        ] {
            assert_eq!(images(text), expected, "{text}");
        }
    }

    #[test]
    fn byte_order_mark_moves_the_digest() {
        let found = find("\u{feff}FROM a:1\n");
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
