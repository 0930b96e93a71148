//! `repin completions` and `repin schema`: generated documents.

use crate::{
    cli::{context::Context, exit::Exit, format::Format},
    config,
    error::Errors,
    report::json::TextDocument,
};

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(in crate::cli) fn completions(
    shell: clap_complete::Shell,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(), "repin", &mut text);
    print("completions", &text, cx);
    Ok(Exit::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(in crate::cli) fn schema(cx: &mut Context) -> Result<Exit, Errors> {
    let text = format!("{:#}\n", config::schema());
    print("schema", text.as_bytes(), cx);
    Ok(Exit::Done)
}

pub(super) fn print(name: &'static str, text: &[u8], cx: &mut Context) {
    if cx.output.format == Format::Json {
        cx.output.print_json(&TextDocument {
            schema: "repin.text/1",
            name,
            content: String::from_utf8_lossy(text).into_owned(),
        });
    } else {
        cx.output.print(text);
    }
}
