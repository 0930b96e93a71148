//! `repin resolve`: resolves each image's tag, and lists its platforms and labels; checks nothing.

use clap::Args;

use crate::{
    app::{
        cli::{args::revisions, context::Context, format::Format, output::Exit},
        report::{json::ResolveDocument, layout::indented},
        workflow,
    },
    base::{
        error::Errors,
        untrusted::{plain, width},
    },
    core::checks::{ResolvedImage, Target},
};

/// Resolve each image's tag: digest, platforms, revision label
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  repin resolve --revision 4f2a… --format json | jq -r '.images[].digest'"
)]
pub(in crate::app::cli) struct Arguments {
    /// Commit that the images were built from
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
    revision: String,
}

/// The width without a terminal.
const COLUMNS: usize = 80;

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let (revision, tag) = workflow::revision(&config, &args.revision, &cx.services)?;
    let targets = vec![Target::new(tag); config.images.len()];
    let resolutions = workflow::resolve_tags(&config, targets, 0, &cx.services)?;
    let resolved = workflow::resolved_images(&config, &resolutions)?;
    let images = config.images.iter().zip(resolved);
    let images = images.map(|(image, found)| ResolvedImage::new(&config, image, found));
    let document = ResolveDocument {
        schema: "repin.resolve/1",
        revision: revision.to_string(),
        images: images.collect(),
    };
    match cx.output.format {
        Format::Json => cx.output.print_json(&document),
        Format::Human | Format::Github | Format::Sarif | Format::Gitlab => {
            let columns = cx.output.columns.unwrap_or(COLUMNS);
            cx.output.print(blocks(&document, columns));
        }
    }
    Ok(Exit::Done)
}

/// One block for each image. Each digest is on a separate line.
fn blocks(document: &ResolveDocument, columns: usize) -> String {
    let mut lines = Vec::new();
    for image in &document.images {
        let tag = format!("tag {}", plain(&image.tag));
        lines.extend(pair(&plain(&image.name), &tag, 0, columns));
        lines.extend(indented(&image.digest, 2, columns));
        for platform in &image.platforms {
            let revision = plain(platform.revision.as_deref().unwrap_or("(absent)"));
            let revision = format!("revision {revision}");
            lines.extend(pair(&plain(&platform.platform), &revision, 2, columns));
            lines.extend(indented(&platform.digest, 4, columns));
        }
        for (label, value) in &image.labels {
            let value = plain(value.as_deref().unwrap_or("(absent)"));
            lines.extend(pair(&plain(label), &value, 2, columns));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A name and its value on one line, or on separate lines if the line is too wide.
fn pair(name: &str, value: &str, indent: usize, columns: usize) -> Vec<String> {
    let line = format!("{:indent$}{name}  {value}", "");
    if width(&line) <= columns {
        return vec![line];
    }
    let mut lines = indented(name, indent, columns);
    lines.extend(indented(value, indent + 2, columns));
    lines
}
