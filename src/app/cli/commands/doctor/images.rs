//! Lines about the sources of images: the same request for each image as in a promotion.

use crate::{
    app::{
        cli::context::Context, report::doctor::DoctorRow, workflow::pull_limit::verification_pulls,
    },
    base::{
        code::Code,
        error::{Class, Error, Errors},
    },
    config::{Config, Image},
    core::pins::Found,
    oci::{
        Digest, Tag, TagOrDigest,
        registry::{PULL_HELP, Source},
    },
};

const MISSING: &str =
    "check that the image was pushed, was not deleted, and is visible to this account";

/// An image to query, with its source.
pub(super) struct Query<'c> {
    image: &'c Image,
    pinned: Option<Digest>,
    source: Result<Source, Error>,
    /// The minimum number of pulls from Docker Hub in a promotion, for all images.
    pulls_needed: u64,
}

/// The images to query, without a request.
pub(super) fn queries<'c>(
    config: &'c Config,
    found: Option<&Found>,
    cx: &Context,
) -> Result<Vec<Query<'c>>, Errors> {
    let sources = cx.services.sources(config)?;
    // The new tag and the replaced digest of each image.
    let pulls_needed = config
        .images
        .iter()
        .filter(|image| image.repository.is_on_hub())
        .map(|image| if image.pins > 0 { 2 } else { 1 } + verification_pulls(config))
        .sum();
    let mut queries = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        let source = sources.source(&image.repository);
        queries.push(Query {
            image,
            pinned: found.and_then(|found| found.digests_of(index).first().copied()),
            source: source.map_err(|error| Error::input(Code::SOURCE, error.to_string())),
            pulls_needed,
        });
    }
    Ok(queries)
}

/// Queries all images concurrently, and returns the lines in the order of the configuration.
pub(super) async fn examine(queries: &[Query<'_>]) -> Vec<DoctorRow> {
    futures_util::future::join_all(queries.iter().map(Query::line)).await
}

impl Query<'_> {
    async fn line(&self) -> DoctorRow {
        let subject = format!("{}: ", self.image.name);
        let source = match &self.source {
            Ok(source) => source,
            Err(error) => return DoctorRow::error(Code::REGISTRY, &subject, error.clone()),
        };
        match self.evidence(source).await {
            Ok(Some(evidence)) => {
                let account = match account(source).await {
                    Some(account) => format!(" {account}"),
                    None => String::new(),
                };
                let unpinned = self.pinned.map_or(" (not pinned)", |_| "");
                self.readable(source, format!("{subject}{evidence}{account}{unpinned}"))
                    .await
            }
            Ok(None) => {
                let missing = match self.pinned {
                    Some(digest) => format!("{source}@{digest}"),
                    None => source.to_string(),
                };
                let absence = self.image.repository.absence(missing);
                let account = match account(source).await {
                    Some(account) => format!(" (requested {account})"),
                    None => String::new(),
                };
                DoctorRow::fail(
                    Code::REGISTRY,
                    Class::Failed,
                    format!("{subject}{}{account}", absence.detail),
                    absence.help.unwrap_or(MISSING),
                )
            }
            Err(error) => DoctorRow::error(Code::REGISTRY, &subject, error),
        }
    }

    /// The line of a readable image, with the remaining pulls from Docker Hub.
    async fn readable(&self, source: &Source, detail: String) -> DoctorRow {
        let remaining = match (source, self.pinned) {
            (Source::Remote(remote), Some(digest)) if self.image.repository.is_on_hub() => {
                let estimate = remote.estimate(&TagOrDigest::Digest(digest)).await;
                estimate.ok().and_then(|estimate| estimate.pulls)
            }
            _ => None,
        };
        let Some(remaining) = remaining else {
            return DoctorRow::pass(Code::REGISTRY, detail);
        };
        let detail = format!("{detail}; Docker Hub allows {remaining} more pulls");
        let needed = self.pulls_needed;
        if remaining >= needed {
            return DoctorRow::pass(Code::REGISTRY, detail);
        }
        let reason = format!("{detail}, and a promotion needs at least {needed}");
        DoctorRow::fail(Code::REGISTRY, Class::Unavailable, reason, PULL_HELP)
    }

    /// The evidence; `None` if the image does not exist.
    async fn evidence(&self, source: &Source) -> Result<Option<String>, Error> {
        match (self.pinned, source) {
            (Some(digest), _) => {
                let found = source.manifest(&TagOrDigest::Digest(digest), None).await?;
                Ok(found.map(|_| format!("{source}@{digest} is readable")))
            }
            // Without a pin, the list of tags shows whether the repository is readable.
            (None, Source::Remote(remote)) => Ok(remote
                .exists()
                .await?
                .then(|| format!("{source} is readable"))),
            (None, Source::Layout(_)) => match Tag::parse("latest") {
                // A missing tag is fine; a directory that is not a layout is an error.
                Ok(tag) => {
                    source.manifest(&TagOrDigest::Tag(tag), None).await?;
                    Ok(Some(format!("{source} is readable")))
                }
                Err(_) => Ok(None),
            },
        }
    }
}

/// The account of the requests, such as `as user …`; `None` for a layout.
async fn account(source: &Source) -> Option<String> {
    match source {
        Source::Layout(_) => None,
        Source::Remote(remote) => {
            let account = remote.account().await;
            Some(account.unwrap_or_else(|| "anonymously".to_owned()))
        }
    }
}
