//! `repin inventory enumerate` and `repin inventory init`: the contents of an image, as a listing or
//! as a contract.

use super::subject::{self, Subject};
use crate::{
    checks::{Check, contract, hygiene},
    cli::{args::OfImage, context::Context, exit::Exit, format::Format, render},
    config::{Inventory, few},
    error::{Class, Error, Errors},
    inventory::{ENUMERATION_SCHEMA, Enumeration, ReadingProgress},
    report::json::{ContractDocument, EnumerationDocument},
    workflow::image_contents,
};

/// How a listing is printed.
#[derive(Clone, Copy)]
pub(super) enum As {
    Json,
    Contract,
}

/// The names of one platform with warnings, or the failed checks.
type Listed = Result<(Enumeration, Vec<Check>), Vec<Check>>;

pub(super) fn run(args: &OfImage, shown: As, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let inventory = subject::kinds(&config, subject::configured(&args.image, &config))?;
    let subject = subject::of(args, &config, cx)?;
    let (found, warnings) = agreed(&subject, listings(&subject, inventory, cx)?)?;
    render::print_checks(&warnings, &config, &mut cx.output);
    let (image, digest) = (subject.name.clone(), subject.digest.to_string());
    match (cx.output.format, shown) {
        (Format::Json, As::Json) => cx.output.json(&EnumerationDocument {
            schema: ENUMERATION_SCHEMA,
            image,
            digest,
            kinds: &found,
        }),
        (Format::Json, As::Contract) => cx.output.json(&ContractDocument {
            schema: "repin.contract/1",
            image,
            digest,
            content: contract::write(&found),
        }),
        (_, As::Json) => cx.output.print(found.to_json() + "\n"),
        (_, As::Contract) => cx.output.print(contract::write(&found)),
    }
    Ok(Exit::Done)
}

fn listings(subject: &Subject, inventory: &Inventory, cx: &Context) -> Result<Vec<Listed>, Errors> {
    let subjects: Vec<_> = subject
        .platforms
        .iter()
        .map(|facts| image_contents::PlatformSource {
            image: &subject.name,
            source: &subject.source,
            facts,
        })
        .collect();
    let listed = |contents| {
        let found = hygiene::enumerate(inventory, &contents)?;
        let warnings = hygiene::warnings(&contents, Some(&found));
        Ok((found, warnings))
    };
    let reading = ReadingProgress::default();
    let work = image_contents::read(&subjects, inventory, &reading, listed);
    let listed = cx.services.wait_with(work, || reading.describe())?;
    listed.map_err(|error| Errors::from(&error))
}

/// The listing that all platforms share.
fn agreed(subject: &Subject, listings: Vec<Listed>) -> Result<(Enumeration, Vec<Check>), Errors> {
    let (mut failures, mut warnings, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (facts, listed) in subject.platforms.iter().zip(listings) {
        let about = |check: Check| check.image(&subject.name).platform(&facts.platform);
        match listed {
            Err(checks) => failures.extend(checks.into_iter().map(about)),
            Ok((found, odd)) => {
                warnings.extend(odd.into_iter().map(about));
                all.push((&facts.platform, found));
            }
        }
    }
    if !failures.is_empty() {
        return Err(Errors::from(
            failures.iter().map(Check::as_error).collect::<Vec<_>>(),
        ));
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
            let problem = Error::new(
                Class::Failed,
                crate::code::Code::ENUMERATION_FAILED,
                message,
            );
            let hint =
                "choose one platform with --platform, or build all platforms with the same names";
            return Err(Errors::from(problem.help(hint)));
        }
    }
    Ok((found, warnings))
}

/// The first few names that only one of the two has.
fn difference(one: &Enumeration, other: &Enumeration) -> Option<String> {
    const SHOWN: usize = 5;
    let mut names = Vec::new();
    for ((kind, ours), (_, theirs)) in one.kinds.iter().zip(&other.kinds) {
        names.extend(
            ours.symmetric_difference(theirs)
                .map(|name| format!("{kind}/{name}")),
        );
    }
    (!names.is_empty()).then(|| few(names.into_iter(), SHOWN))
}
