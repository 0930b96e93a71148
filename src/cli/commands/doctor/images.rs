//! Lines about the sources of images: one request for each image, as a promote makes it.

use super::{Lines, NO_CONFIG};
use crate::{
    cli::{context::Context, exit::Exit},
    code::Code,
    config::{Config, Image},
    error::{Class, Error, Errors},
    oci::{Digest, Tag, TagOrDigest},
    pins::Found,
    registry::Source,
    workflow::pulls::PULL_HELP,
};

const MISSING: &str =
    "check that the image was pushed, was not deleted, and is visible to this account";

/// An image with its source.
pub(super) struct Asked<'c> {
    image: &'c Image,
    /// The pinned digest.
    pinned: Option<Digest>,
    source: Result<Source, Errors>,
    /// The fewest pulls that a promotion needs from Docker Hub, for all images.
    pulls_needed: u64,
}

/// The images to query; sends nothing.
pub(super) fn asked<'c>(
    config: Option<&'c Config>,
    found: Option<&Found>,
    cx: &Context,
) -> Result<Vec<Asked<'c>>, Errors> {
    let Some(config) = config else {
        return Ok(Vec::new());
    };
    let sources = cx.services.sources(config)?;
    let on_hub = config
        .images
        .iter()
        .filter(|image| image.repository.is_on_hub());
    // The new tag and the replaced digest of each.
    let pulls_needed = on_hub.map(|image| if image.pins > 0 { 2 } else { 1 }).sum();
    let one = |(at, image): (usize, &'c Image)| {
        let pinned = found.and_then(|found| found.digests_of(at).first().copied());
        let source = sources.of(&image.repository);
        let source =
            source.map_err(|error| Errors::from(Error::input(Code::SOURCE, error.to_string())));
        Asked {
            image,
            pinned,
            source,
            pulls_needed,
        }
    };
    Ok(config.images.iter().enumerate().map(one).collect())
}

/// Queries all images concurrently; the lines are in the order of the configuration.
pub(super) async fn examine(asked: &[Asked<'_>]) -> Lines {
    let mut lines = Lines::new();
    if asked.is_empty() {
        lines.skip(Code::REGISTRY, NO_CONFIG);
    }
    for one in futures_util::future::join_all(asked.iter().map(Asked::line)).await {
        lines.extend(one);
    }
    lines
}

impl Asked<'_> {
    async fn line(&self) -> Lines {
        let mut lines = Lines::new();
        let subject = format!("{}: ", self.image.name);
        let source = match &self.source {
            Ok(source) => source,
            Err(fault) => {
                lines.about(Code::REGISTRY, &subject, fault);
                return lines;
            }
        };
        match self.ask(source).await {
            Ok(Some(read)) => {
                let who = who(source).await;
                let who = who.map_or_else(String::new, |who| format!(" {who}"));
                let unpinned = self.pinned.map_or(" (not pinned)", |_| "");
                let detail = format!("{subject}{read}{who}{unpinned}");
                self.readable(&mut lines, source, detail).await;
            }
            Ok(None) => {
                let what = self
                    .pinned
                    .map_or_else(|| source.to_string(), |digest| format!("{source}@{digest}"));
                let absence = self.image.repository.absence(what);
                let reason = format!("{subject}{}{}", absence.detail, requested(source).await);
                lines.fail(
                    Code::REGISTRY,
                    Exit::Because(Class::Failed),
                    reason,
                    absence.help.unwrap_or(MISSING).to_owned(),
                );
            }
            Err(error) => lines.about(Code::REGISTRY, &subject, &Errors::from(&error)),
        }
        lines
    }

    /// Adds the line of a readable image, with the rest of Docker Hub's limit.
    async fn readable(&self, lines: &mut Lines, source: &Source, detail: String) {
        let remaining = match (source, self.pinned) {
            (Source::Remote(remote), Some(digest)) if self.image.repository.is_on_hub() => {
                let estimate = remote.estimate(&TagOrDigest::Digest(digest)).await;
                estimate.ok().and_then(|estimate| estimate.pulls)
            }
            _ => None,
        };
        let Some(remaining) = remaining else {
            return lines.pass(Code::REGISTRY, detail);
        };
        let detail = format!("{detail}; Docker Hub allows {remaining} more pulls");
        if remaining >= self.pulls_needed {
            return lines.pass(Code::REGISTRY, detail);
        }
        let needed = self.pulls_needed;
        let reason = format!("{detail}, and a promotion needs at least {needed}");
        let exit = Exit::Because(Class::Unavailable);
        lines.fail(Code::REGISTRY, exit, reason, PULL_HELP.to_owned());
    }

    /// The evidence; `None` if the image does not exist.
    async fn ask(&self, source: &Source) -> Result<Option<String>, Error> {
        match (self.pinned, source) {
            (Some(digest), _) => {
                let found = source.manifest(&TagOrDigest::Digest(digest), None).await?;
                Ok(found.map(|_| format!("{source}@{digest} is readable")))
            }
            // Nothing pins it, so there is no digest to ask for; whether there are tags is as good.
            (None, Source::Remote(remote)) => Ok(remote
                .is_there()
                .await?
                .then(|| format!("{source} is readable"))),
            (None, Source::Layout(_)) => match Tag::parse("latest") {
                // Whether it has that tag does not matter: a directory that is not a layout is an
                // error.
                Ok(tag) => {
                    source.manifest(&TagOrDigest::Tag(tag), None).await?;
                    Ok(Some(format!("{source} is readable")))
                }
                Err(_) => Ok(None),
            },
        }
    }
}

/// The account of the requests, such as `as user ...`; `None` for a layout.
async fn who(source: &Source) -> Option<String> {
    match source {
        Source::Layout(_) => None,
        Source::Remote(remote) => {
            let who = remote.asked_as().await;
            Some(who.unwrap_or_else(|| "anonymously".to_owned()))
        }
    }
}

async fn requested(source: &Source) -> String {
    let who = who(source).await;
    who.map_or_else(String::new, |who| format!(" (requested {who})"))
}
