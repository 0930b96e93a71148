//! The verdict on the resolved image of a tag.
//!
//! Verdicts on a rollback whose tag does not resolve to the digest that git records.
//!
//! The authority is git's record and the label of the image, so the rollback may use the digest itself if the
//! user requests it. A new build is no remedy: it has another digest.

use super::{
    Check, Code, StageResult, Status,
    contents::check_platforms,
    set::{
        ApprovedImage, Expected, RecordedImage, Resolution, TaggedImage, Target, check_digest,
        check_required_labels, check_revision_label, content_result, resolved_image, tagged_image,
    },
};
use crate::{
    config::{Config, Image},
    oci::Revision,
};

/// Checks the resolved image of a tag.
pub(crate) fn check_resolution(
    config: &Config,
    image: &Image,
    revision: &Revision,
    resolution: &Resolution,
) -> StageResult {
    let check = |code, status, detail: String| Check::new(code, status, detail).image(&image.name);
    let ApprovedImage { tag, facts } = match resolved_image(config, image, resolution) {
        Ok(found) => found,
        Err(Ok(check)) => return add_record(config, image, revision, resolution, check),
        Err(Err(error)) => return content_result(vec![error], &image.name),
    };
    let mut result = StageResult::default();
    if let Some(tagged) = &resolution.bypassed {
        let bypass = check_bypass(config, image, &resolution.target, tagged);
        result.checks.extend(bypass);
    } else {
        result.checks.push(check(
            Code::TAG_MISSING,
            Status::Pass,
            format!("{tag} resolves to {}", facts.digest),
        ));
    }
    result.checks.push(check(
        Code::MANIFEST_AMBIGUOUS,
        Status::Pass,
        format!("one {}", facts.media_type),
    ));
    if let (Some(expected), None) = (&resolution.target.expected, &resolution.bypassed) {
        let digest = check_digest(config, image, tag, expected, facts);
        result.add(match digest.status {
            Status::Fail => add_record(config, image, revision, resolution, digest),
            _ => vec![digest].into(),
        });
    }
    let checks = &mut result.checks;
    checks.extend(check_platforms(&image.name, facts));
    for platform in &facts.platforms {
        checks.push(check_revision_label(config, image, revision, platform));
    }
    if let Some(inventory) = config.inventory_of(image) {
        for platform in &facts.platforms {
            let required = &inventory.required_labels;
            checks.extend(check_required_labels(required, &image.name, platform));
        }
    }
    result
}

/// Adds the state of the recorded digest to the failure of a tag, and the remedies that keep the digest.
pub(super) fn add_record(
    config: &Config,
    image: &Image,
    revision: &Revision,
    resolution: &Resolution,
    failure: Check,
) -> StageResult {
    let target = &resolution.target;
    let (Some(Expected::Pinned(pinned)), Some(recorded)) = (&target.expected, &resolution.recorded)
    else {
        return vec![failure].into();
    };
    let recorded_digest = format!(
        "the digest that commit {} pinned, {}",
        pinned.commit, pinned.digest
    );
    let is_one_platform = matches!(
        &resolution.found,
        Ok(tagged) if tagged.facts.platform_of(pinned.digest).is_some()
    );
    // Its help compares the two commits: one of them may state the wrong revision.
    let is_of_other_commit = matches!(
        &resolution.found,
        Ok(tagged) if pinned.introduced.contains_key(&tagged.facts.digest)
    );
    match &recorded.facts {
        _ if is_one_platform || is_of_other_commit => vec![failure].into(),
        Ok(Some(facts)) if config.revision.stated_by(facts).as_ref() == Some(revision) => {
            let detail = format!(
                "{}; {recorded_digest}, exists, and its label is that of the revision",
                failure.detail
            );
            let help = remedies(image, target, recorded);
            vec![Check { detail, ..failure }.help(help)].into()
        }
        Ok(Some(facts)) => {
            let detail = format!(
                "{}; {recorded_digest}, exists, but its label is not that of the revision",
                failure.detail
            );
            let check = Check { detail, ..failure };
            vec![match config.revision.stated_by(facts) {
                Some(other) => check.help(format!(
                    "the commit may record the wrong revision; to return to the build of the label: {}",
                    config.return_command(other.as_str())
                )),
                None => check,
            }]
            .into()
        }
        Ok(None) => {
            let detail = format!("{}; {recorded_digest}, does not exist", failure.detail);
            let help = format!(
                "the image was deleted, and a new build has another digest: restore it from a backup or a mirror, or roll \
                 back to another set (`repin rollback{}` lists them)",
                config.option
            );
            vec![Check { detail, ..failure }.help(help)].into()
        }
        Err(error) => {
            let detail = format!(
                "{}; it is unknown whether {recorded_digest}, exists",
                failure.detail
            );
            StageResult {
                checks: vec![Check { detail, ..failure }],
                errors: vec![error.clone()],
            }
        }
    }
}

/// The warning about a tag that a rollback by digest does not use.
pub(super) fn check_bypass(
    config: &Config,
    image: &Image,
    target: &Target,
    tagged: &TaggedImage,
) -> Option<Check> {
    let expected = target.expected.as_ref()?;
    let failure = match tagged_image(config, image, target, tagged) {
        Ok(found) => check_digest(config, image, &found.tag, expected, &found.facts),
        Err(Ok(check)) => check,
        Err(Err(_)) => return None,
    };
    Some(Check {
        status: Status::Warn,
        detail: format!("{}; allowed by --by-digest", failure.detail),
        help: None,
        ..failure
    })
}

/// The two ways to roll back to a digest that exists.
fn remedies(image: &Image, target: &Target, recorded: &RecordedImage) -> String {
    let tag = match target.tag.tag() {
        Some(tag) => tag.as_str(),
        None => "TAG",
    };
    let restore = match (&recorded.repository, target.recorded_digest()) {
        (Some(repository), Some(digest)) => format!(
            "set the tag again: skopeo copy --all --preserve-digests docker://{repository}@{digest} \
             docker://{repository}:{tag}"
        ),
        _ => format!("set the tag of {} again: {tag}", image.repository),
    };
    match target.tag.tag() {
        Some(_) => format!(
            "roll back by digest, because git records it and the label proves the revision: add `--by-digest`; or {restore}"
        ),
        None => format!(
            "{restore}; `--by-digest` requires a `revision.tag` without `*`, because the tag of the pins is unknown"
        ),
    }
}
