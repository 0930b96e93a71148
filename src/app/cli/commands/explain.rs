//! `repin explain`: explains a code of a check or an error.

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::{
    app::{
        cli::{complete, context::Context, format::Format, output::Exit},
        report::explain::{ExplainDocument, list, text},
    },
    base::error::{Code, Error, Errors},
    config::nearest,
};

/// Explain a code of a check or an error
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  repin explain              # list every code\n  repin explain pin_count"
)]
pub(in crate::app::cli) struct Arguments {
    /// The code that a message shows in brackets; without it, all codes are listed
    #[arg(value_name = "CODE", add = ArgValueCompleter::new(complete::codes))]
    code: Option<String>,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let code = match &args.code {
        Some(code) => Some(Code::of(code).ok_or_else(|| unknown(code))?),
        None => None,
    };
    let is_json = cx.output.format == Format::Json;
    match code {
        Some(code) if is_json => cx.output.print_json(&ExplainDocument::one(code)),
        None if is_json => cx.output.print_json(&ExplainDocument::list()),
        Some(code) => cx.output.print(text(code)),
        None => cx.output.print(list()),
    }
    Ok(Exit::Done)
}

fn unknown(code: &str) -> Errors {
    let codes: Vec<_> = Code::all().map(Code::as_str).collect();
    let help = match (Code::renamed(code), nearest(&code.to_lowercase(), &codes)) {
        (Some(new), _) => format!("the code was renamed: run `repin explain {new}`"),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => "run `repin explain` to list every code".to_owned(),
    };
    Error::input(Code::USAGE, format!("unknown code `{code}`"))
        .help(help)
        .into()
}
