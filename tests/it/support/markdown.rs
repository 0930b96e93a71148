//! The fenced blocks of a Markdown page.

/// A fenced block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The text after the opening fence.
    pub(crate) language: String,
    /// The heading that it is under.
    pub(crate) heading: String,
    /// Its lines, each with its newline.
    pub(crate) text: String,
    /// The line of the opening fence, from 1.
    pub(crate) line: usize,
    /// The reason that `scripts/first-hour` does not run it, from the comment above it.
    pub(crate) not_run: Option<String>,
}

impl Block {
    /// Whether the block contains commands.
    pub(crate) fn is_commands(&self) -> bool {
        ["sh", "console"].contains(&self.language.as_str())
    }

    /// The lines that are commands: those after a prompt in a `console` block.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &str> {
        let prompt = if self.language == "console" { "$ " } else { "" };
        self.text
            .lines()
            .filter_map(move |line| line.strip_prefix(prompt))
    }
}

/// The blocks of a page, in order.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let (mut heading, mut not_run, mut none) = (String::new(), None, None);
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for (at, line) in page.lines().enumerate() {
        match &mut open {
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some(block) => block.text.extend([line, "\n"]),
            None => {
                if let Some(language) = line.strip_prefix("```") {
                    open = Some(Block {
                        language: language.to_owned(),
                        heading: heading.clone(),
                        text: String::new(),
                        line: at + 1,
                        not_run: not_run.take().or_else(|| none.clone()),
                    });
                } else if let Some(comment) = line.strip_prefix("<!-- not run: ") {
                    not_run = Some(comment.trim_end_matches(" -->").to_owned());
                } else if let Some(comment) = line.strip_prefix("<!-- not run on this page: ") {
                    none = Some(comment.trim_end_matches(" -->").to_owned());
                } else if !line.is_empty() {
                    not_run = None;
                }
                if line.starts_with('#') {
                    line.trim_start_matches(['#', ' ']).clone_into(&mut heading);
                }
            }
        }
    }
    assert!(open.is_none(), "a block has no end: {open:?}");
    blocks
}
