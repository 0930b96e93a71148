//! `repin completions`, `repin man` and `repin schema`: generated documents.

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

pub(in crate::cli) fn man(cx: &mut Context) -> Result<Exit, Errors> {
    let mut text = Vec::new();
    let mut root = crate::cli::command();
    // Gives each command its full name, such as `repin-promote`, for the title of its page.
    root.build();
    let commands = root
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .cloned();
    let pages: Vec<_> = std::iter::once(root.clone()).chain(commands).collect();
    for page in pages {
        let rendered = clap_mangen::Man::new(page).render(&mut text);
        rendered.map_err(|error| Errors::io(format!("cannot render the manual page: {error}")))?;
    }
    print("man", &text, cx);
    Ok(Exit::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(in crate::cli) fn schema(cx: &mut Context) -> Result<Exit, Errors> {
    let text = format!("{:#}\n", config::schema());
    print("schema", text.as_bytes(), cx);
    Ok(Exit::Done)
}

fn print(name: &'static str, text: &[u8], cx: &mut Context) {
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
