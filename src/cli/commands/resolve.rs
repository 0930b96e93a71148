//! `repin resolve`: resolves each image's tag, and lists its platforms and labels; checks nothing.

use crate::{
    checks::{Resolution, ResolvedPlatform, Target},
    cli::{context::Context, exit::Exit, format::Format},
    code::Code,
    config::{Config, Image},
    error::{Error, Errors},
    registry::resolve::{self, ImageFacts},
    report::{
        json::{ResolveDocument, ResolvedImage},
        layout::indented,
    },
    untrusted::{plain, width},
    workflow,
};

/// The width without a terminal.
const COLUMNS: usize = 80;

pub(in crate::cli) fn run(revision: &str, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let (revision, tag) = workflow::revision(&config, revision)?;
    let targets = config.images.iter().map(|_| Target {
        tag: tag.clone(),
        expected: None,
        pinned: Vec::new(),
    });
    let resolutions = workflow::resolve_tags(&config, targets.collect(), 0, &cx.services)?;
    let images = images(&config, &resolutions)?;
    let document = ResolveDocument {
        schema: "repin.resolve/1",
        revision: revision.to_string(),
        images,
    };
    match cx.output.format {
        Format::Json => cx.output.print_json(&document),
        Format::Human | Format::Github | Format::Sarif => {
            let columns = cx.output.columns.unwrap_or(COLUMNS);
            cx.output.print(blocks(&document, columns));
        }
    }
    Ok(Exit::Done)
}

/// A row for every image, or every error.
fn images(config: &Config, resolutions: &[Resolution]) -> Result<Vec<ResolvedImage>, Errors> {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for (image, resolution) in config.images.iter().zip(resolutions) {
        let tag = &resolution.target.tag;
        match &resolution.found {
            Ok(Some(facts)) => rows.push(row(config, image, tag.as_str(), facts)),
            Ok(None) => {
                let repository = &image.repository;
                let absence = repository.absence(format!("{repository}:{tag}"));
                let message = format!("{}: {}", image.name, absence.detail);
                let error = Error::failed(Code::TAG_MISSING, message);
                errors.push(match absence.help {
                    Some(help) => error.help(help),
                    None => error,
                });
            }
            Err(error) => errors.push(error.clone()),
        }
    }
    if errors.is_empty() {
        Ok(rows)
    } else {
        Err(errors.into())
    }
}

fn row(config: &Config, image: &Image, tag: &str, facts: &ImageFacts) -> ResolvedImage {
    let label = &config.revision.label;
    let platforms = facts
        .platforms
        .iter()
        .map(|platform| ResolvedPlatform::new(platform, label));
    ResolvedImage {
        name: image.name.clone(),
        repository: image.repository.to_string(),
        tag: tag.to_owned(),
        digest: facts.digest.to_string(),
        media_type: facts.media_type.clone(),
        platforms: platforms.collect(),
        labels: resolve::reported_labels(facts, &config.report.labels),
    }
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
