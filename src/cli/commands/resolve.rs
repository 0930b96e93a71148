//! `repin resolve`: resolve each image's tag, platform by platform; judges nothing.

use std::fmt::Write as _;

use crate::{
    checks::ResolvedPlatform,
    checks::{Resolution, Target},
    cli::{context::Context, exit::Exit, format::Format},
    code::Code,
    config::{Config, Image},
    error::{Error, Errors},
    registry::resolve::{self, ImageFacts},
    report::json::{ResolveDocument, ResolvedImage},
    untrusted::plain,
    workflow,
};

pub(in crate::cli) fn run(revision: &str, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let (revision, tag) = workflow::revision(&config, revision)?;
    let target = |_| Target {
        tag: tag.clone(),
        expected: None,
        pinned: Vec::new(),
    };
    let targets = config.images.iter().map(target).collect();
    let resolutions = workflow::resolve_tags(&config, targets, &cx.services)?;
    let images = images(&config, &resolutions)?;
    let document = ResolveDocument {
        schema: "repin.resolve/1",
        revision: revision.to_string(),
        images,
    };
    match cx.output.format {
        Format::Json => cx.output.json(&document),
        Format::Human | Format::Github | Format::Sarif => cx.output.print(blocks(&document)),
    }
    Ok(Exit::Done)
}

/// Every image as a row, or every error.
fn images(config: &Config, resolutions: &[Resolution]) -> Result<Vec<ResolvedImage>, Errors> {
    let (mut rows, mut fault) = (Vec::new(), None::<Errors>);
    for (image, resolution) in config.images.iter().zip(resolutions) {
        let tag = &resolution.target.tag;
        let trouble = match &resolution.found {
            Ok(Some(facts)) => {
                rows.push(row(config, image, tag.as_str(), facts));
                continue;
            }
            Ok(None) => {
                let repository = &image.repository;
                let absence = repository.absence(format!("{repository}:{tag}"));
                let message = format!("{}: {}", image.name, absence.detail);
                let error = Error::failed(Code::TAG_MISSING, message);
                Errors::from(match absence.help {
                    Some(help) => error.help(help),
                    None => error,
                })
            }
            Err(error) => Errors::from(error),
        };
        fault = Some(match fault {
            None => trouble,
            Some(mut all) => {
                all.extend(trouble);
                all
            }
        });
    }
    fault.map_or(Ok(rows), Err)
}

fn row(config: &Config, image: &Image, tag: &str, facts: &ImageFacts) -> ResolvedImage {
    let label = &config.revision.label;
    let platforms = facts.platforms.iter();
    let platforms = platforms.map(|platform| ResolvedPlatform::new(platform, label));
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

/// The images, one block each: a digest has a line of its own, so that 80 columns suffice.
fn blocks(document: &ResolveDocument) -> String {
    let mut text = String::new();
    for image in &document.images {
        let _ = writeln!(text, "{}  tag {}", plain(&image.name), plain(&image.tag));
        let _ = writeln!(text, "  {}", image.digest);
        for platform in &image.platforms {
            let revision = platform.revision.as_deref();
            let revision = revision.map_or_else(|| "(absent)".to_owned(), plain);
            let name = plain(&platform.platform);
            let _ = writeln!(
                text,
                "  {name}  revision {revision}\n    {}",
                platform.digest
            );
        }
        for (label, value) in &image.labels {
            let value = value.as_deref().unwrap_or("(absent)");
            let _ = writeln!(text, "  {}  {}", plain(label), plain(value));
        }
    }
    text
}
