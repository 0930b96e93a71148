//! The verdict on the resolved image of a tag.

use super::{
    Check, Code, StageResult, Status,
    platforms::check_platforms,
    recorded,
    set::{
        ApprovedImage, Resolution, check_digest, check_required_labels, check_revision_label,
        content_result, resolved_image,
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
        Err(Ok(check)) => return recorded::add_record(config, image, revision, resolution, check),
        Err(Err(outage)) => return content_result(vec![outage], &image.name),
    };
    let mut result = StageResult::default();
    if let Some(tagged) = &resolution.bypassed {
        let bypass = recorded::check_bypass(config, image, &resolution.target, tagged);
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
            Status::Fail => recorded::add_record(config, image, revision, resolution, digest),
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
