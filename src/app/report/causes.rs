//! Checks grouped by cause: a cause that images share is reported once and lists all of them.
//!
//! Causes are for text and annotations; JSON documents list every check.

use crate::{
    base::code::Code,
    core::checks::{Check, FileLocation, Status},
};

/// One or more checks with the same code, status and cause.
#[derive(Debug)]
pub(crate) struct Cause<'c> {
    first: &'c Check,
    others: Vec<&'c Check>,
}

/// Groups checks by cause, in the order of the first checks.
pub(crate) fn by_cause(checks: &[Check]) -> Vec<Cause<'_>> {
    let mut causes: Vec<Cause<'_>> = Vec::new();
    for check in checks {
        match causes
            .iter_mut()
            .find(|cause| have_same_cause(cause.first, check))
        {
            Some(cause) => cause.others.push(check),
            None => causes.push(Cause {
                first: check,
                others: Vec::new(),
            }),
        }
    }
    causes
}

/// Whether two checks have the same cause. Checks with locations share only a declared cause.
fn have_same_cause(one: &Check, other: &Check) -> bool {
    let same = match (&one.cause, &other.cause) {
        (Some(one), Some(other)) => one == other,
        (None, None) => {
            one.locations.is_empty()
                && other.locations.is_empty()
                && (&one.detail, &one.item) == (&other.detail, &other.item)
        }
        _ => false,
    };
    same && (one.code, one.status, &one.help) == (other.code, other.status, &other.help)
}

/// The image and the platform of a check; empty if it concerns the repository.
pub(crate) fn subject(check: &Check) -> String {
    match (&check.image, &check.platform) {
        (Some(image), Some(platform)) => format!("{image} {platform}"),
        (Some(subject), None) | (None, Some(subject)) => subject.clone(),
        (None, None) => String::new(),
    }
}

impl<'c> Cause<'c> {
    pub(crate) fn first(&self) -> &'c Check {
        self.first
    }

    pub(crate) fn code(&self) -> Code {
        self.first.code
    }

    pub(crate) fn status(&self) -> Status {
        self.first.status
    }

    /// The images and platforms; empty if the cause concerns the repository.
    pub(crate) fn subject(&self) -> String {
        let mut subjects: Vec<String> = Vec::new();
        for check in self.checks() {
            let subject = subject(check);
            if !subject.is_empty() && !subjects.contains(&subject) {
                subjects.push(subject);
            }
        }
        subjects.join(", ")
    }

    pub(crate) fn message(&self) -> String {
        match &self.first.cause {
            Some(cause) if !self.others.is_empty() => cause.clone(),
            _ => self.first.describe(),
        }
    }

    /// The evidence of each image, if the images differ.
    pub(crate) fn evidence(&self) -> Vec<String> {
        let mut evidence: Vec<String> = Vec::new();
        for check in self.checks() {
            let text = check.describe();
            if !evidence.contains(&text) {
                evidence.push(text);
            }
        }
        if evidence.len() == 1 {
            evidence.clear();
        }
        evidence
    }

    pub(crate) fn help(&self) -> Option<&'c str> {
        self.first.help.as_deref()
    }

    /// The locations of a single check, or the first location of a group.
    pub(crate) fn locations(&self) -> &'c [FileLocation] {
        let locations = &self.first.locations;
        if self.others.is_empty() {
            locations
        } else {
            &locations[..locations.len().min(1)]
        }
    }

    fn checks(&self) -> impl Iterator<Item = &'c Check> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(image: &str) -> Check {
        let detail = format!("ghcr.io/acme/{image}:r1 does not exist");
        Check::new(Code::TAG_MISSING, Status::Fail, detail)
            .cause("tag `r1` does not exist")
            .image(image)
    }

    #[test]
    fn shared_cause_is_reported_once_with_every_image() {
        let other = Check::new(Code::REVISION_LABEL, Status::Fail, "label is absent").image("fix");
        let checks = [missing("review"), other, missing("fix"), missing("lint")];
        let causes = by_cause(&checks);
        assert_eq!(causes.len(), 2);
        assert_eq!(causes[0].subject(), "review, fix, lint");
        assert_eq!(causes[0].message(), "tag `r1` does not exist");
        assert_eq!(
            causes[0].evidence(),
            ["review", "fix", "lint"].map(|name| format!("ghcr.io/acme/{name}:r1 does not exist"))
        );
        assert_eq!(causes[1].message(), "label is absent");
    }

    #[test]
    fn single_check_keeps_its_evidence() {
        let checks = [missing("review")];
        let cause = &by_cause(&checks)[0];
        assert_eq!(cause.message(), "ghcr.io/acme/review:r1 does not exist");
        assert_eq!(cause.evidence(), Vec::<String>::new());
    }

    #[test]
    fn equal_evidence_is_reported_once() {
        let label = |platform: &str| {
            Check::new(Code::REVISION_LABEL, Status::Fail, "label is absent")
                .image("review")
                .platform(&platform)
        };
        let checks = [label("linux/amd64"), label("linux/arm64")];
        let cause = &by_cause(&checks)[0];
        assert_eq!(cause.subject(), "review linux/amd64, review linux/arm64");
        assert!(cause.evidence().is_empty());
    }

    #[test]
    fn different_status_help_or_place_is_another_cause() {
        let warned = Check {
            status: Status::Warn,
            ..missing("fix")
        };
        let helped = missing("fix").help("wait");
        let location = FileLocation {
            file: "a".to_owned(),
            line: 1,
            column: 1,
        };
        let placed = |image: &str| {
            Check::new(Code::PIN_OUTSIDE, Status::Fail, "pinned")
                .image(image)
                .locations(vec![location.clone()])
        };
        for pair in [
            [missing("a"), warned],
            [missing("a"), helped],
            [placed("a"), placed("b")],
        ] {
            assert_eq!(by_cause(&pair).len(), 2, "{pair:?}");
        }
    }
}
