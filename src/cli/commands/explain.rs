//! `repin explain`: what a code of a check or an error means, and what to do about it.

use crate::{
    cli::{context::Context, exit::Exit, format::Format},
    code::Code,
    config::nearest,
    error::{Error, Errors},
    report::explain::{ExplainDocument, list, text},
};

pub(in crate::cli) fn run(code: Option<&str>, cx: &mut Context) -> Result<Exit, Errors> {
    let found = code
        .map(|code| Code::of(code).ok_or_else(|| unknown(code)))
        .transpose()?;
    match (cx.output.format, found) {
        (Format::Json, Some(found)) => cx.output.json(&ExplainDocument::one(found)),
        (Format::Json, None) => cx.output.json(&ExplainDocument::list()),
        (Format::Human | Format::Github | Format::Sarif, Some(found)) => {
            cx.output.print(text(found));
        }
        (Format::Human | Format::Github | Format::Sarif, None) => cx.output.print(list()),
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
