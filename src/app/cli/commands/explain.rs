//! `repin explain`: explains a code of a check or an error, or a word of the output.

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::{
    app::{
        cli::{complete, context::Context, format::Format, output::Exit},
        report::{
            explain::{ExplainDocument, list, text, text_of_word},
            words::{self, WORDS, Word},
        },
    },
    base::error::{Code, Error, Errors},
    config::nearest,
};

/// Explain a code of a check or an error, or a word of the output
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  repin explain              # list every code\n  repin explain pin_count\n  repin explain held"
)]
pub(in crate::app::cli) struct Arguments {
    /// The code that a message shows in brackets, or a word such as `held`; without it, all codes are listed
    #[arg(value_name = "CODE", add = ArgValueCompleter::new(complete::codes))]
    code: Option<String>,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let is_json = cx.output.format == Format::Json;
    match args.code.as_deref().map(Subject::of).transpose()? {
        Some(Subject::Code(code)) if is_json => cx.output.print_json(&ExplainDocument::one(code)),
        Some(Subject::Word(word)) if is_json => {
            cx.output.print_json(&ExplainDocument::from_word(word));
        }
        None if is_json => cx.output.print_json(&ExplainDocument::list()),
        Some(Subject::Code(code)) => cx.output.print(text(code)),
        Some(Subject::Word(word)) => cx.output.print(text_of_word(word)),
        None => cx.output.print(list()),
    }
    Ok(Exit::Done)
}

enum Subject {
    Code(Code),
    Word(&'static Word),
}

impl Subject {
    fn of(text: &str) -> Result<Self, Errors> {
        match (Code::of(text), words::word(text)) {
            (Some(code), _) => Ok(Self::Code(code)),
            (None, Some(word)) => Ok(Self::Word(word)),
            (None, None) => Err(unknown(text)),
        }
    }
}

fn unknown(code: &str) -> Errors {
    let words = WORDS.iter().map(|word| word.name);
    let codes: Vec<_> = Code::all().map(Code::as_str).chain(words).collect();
    let help = match (Code::renamed(code), nearest(&code.to_lowercase(), &codes)) {
        (Some(new), _) => format!("the code was renamed: run `repin explain {new}`"),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => "run `repin explain` to list every code".to_owned(),
    };
    Error::input(Code::USAGE, format!("unknown code or word `{code}`"))
        .help(help)
        .into()
}
