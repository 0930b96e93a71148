//! `repin inventory enumerate` and `repin inventory init`: print the contents of an image, as a listing or as
//! a contract.

use super::{ImageArguments, Subject};
use crate::{
    app::{
        cli::{
            change::print_checks, commands::inventory, context::Context, format::Format,
            output::Exit,
        },
        report::json::{ContractDocument, EnumerationDocument},
        workflow::image_contents,
    },
    base::{
        error::{Class, Code, Error, Errors},
        text::few,
    },
    contents::inventory::{ENUMERATION_SCHEMA, Enumeration, Inventory},
    core::checks::{Check, contract, hygiene},
};

#[derive(Clone, Copy)]
pub(super) enum OutputKind {
    Listing,
    Contract,
}

/// The content of one platform with warnings, or the failed checks.
type PlatformListing = Result<(Enumeration, Vec<Check>), Vec<Check>>;

pub(super) fn run(
    args: &ImageArguments,
    kind: OutputKind,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let inventory = inventory::kinds(&config, inventory::configured(&args.image, &config))?;
    let subject = inventory::resolve(args, &config, cx)?;
    let (found, warnings) = common_listing(&subject, listings(&subject, inventory, cx)?)?;
    print_checks(&warnings, &config, &mut cx.output);
    let (image, digest) = (subject.name.clone(), subject.digest.to_string());
    match (cx.output.format, kind) {
        (Format::Json, OutputKind::Listing) => cx.output.print_json(&EnumerationDocument {
            schema: ENUMERATION_SCHEMA,
            image,
            digest,
            kinds: &found,
        }),
        (Format::Json, OutputKind::Contract) => cx.output.print_json(&ContractDocument {
            schema: "repin.contract/1",
            image,
            digest,
            content: contract::write(&found),
        }),
        (_, OutputKind::Listing) => cx.output.print(found.to_json() + "\n"),
        (_, OutputKind::Contract) => cx.output.print(contract::write(&found)),
    }
    Ok(Exit::Done)
}

fn listings(
    subject: &Subject,
    inventory: &Inventory,
    cx: &Context,
) -> Result<Vec<PlatformListing>, Errors> {
    let subjects: Vec<_> = subject
        .platforms
        .iter()
        .map(|facts| image_contents::PlatformSource {
            image: &subject.name,
            source: &subject.source,
            facts,
        })
        .collect();
    let listings = image_contents::read(&subjects, inventory, &cx.services, |contents| {
        let found = hygiene::enumerate(inventory, &contents)?;
        let warnings = hygiene::warnings(&contents, Some(&found));
        Ok((found, warnings))
    });
    listings.map_err(|error| Errors::from(&error))
}

/// The listing, which must be equal for all platforms, and the warnings.
fn common_listing(
    subject: &Subject,
    listings: Vec<PlatformListing>,
) -> Result<(Enumeration, Vec<Check>), Errors> {
    let (mut errors, mut warnings, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (facts, listing) in subject.platforms.iter().zip(listings) {
        let located = |check: Check| check.image(&subject.name).platform(&facts.platform);
        match listing {
            Err(checks) => errors.extend(checks.into_iter().map(|check| located(check).as_error())),
            Ok((found, of_platform)) => {
                warnings.extend(of_platform.into_iter().map(located));
                all.push((&facts.platform, found));
            }
        }
    }
    if !errors.is_empty() {
        return Err(Errors::from(errors));
    }
    let mut all = all.into_iter();
    let Some((first, found)) = all.next() else {
        return Err(Errors::from(Error::unavailable(
            subject.name.clone(),
            "the image has no platform",
        )));
    };
    for (platform, other) in all {
        if let Some(difference) = difference(&found, &other) {
            let message = format!(
                "{}: {first} and {platform} contain different names: {difference}",
                subject.name
            );
            let error = Error::new(Class::Failed, Code::ENUMERATION_FAILED, message);
            let help =
                "choose one platform with --platform, or build all platforms with the same names";
            return Err(error.help(help).into());
        }
    }
    Ok((found, warnings))
}

/// The first differences between the listings.
fn difference(one: &Enumeration, other: &Enumeration) -> Option<String> {
    const LISTED: usize = 5;
    let mut names = Vec::new();
    for ((kind, ours), (_, theirs)) in one.kinds.iter().zip(&other.kinds) {
        names.extend(
            ours.symmetric_difference(theirs)
                .map(|name| format!("{kind}/{name}")),
        );
    }
    (!names.is_empty()).then(|| few(names.into_iter(), LISTED))
}
