//! Generated documents.

use crate::app::{
    cli::{context::Context, format::Format},
    report::json::TextDocument,
};

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
