//! Readers that choose different entries of a duplicate key.

use std::collections::HashSet;

use super::{Finding, FindingKind};

const WHY: &str = "a duplicate key in this document decides whose digest this is: YAML forbids it, and readers take the first or the last one";

/// Refuses the entries that readers of a document with duplicate keys interpret differently:
/// `first` are those of a reader that uses the first entry with a key, `last` those of a reader
/// that uses the last one.
pub(super) fn reconcile(first: Vec<Finding>, last: Vec<Finding>) -> Vec<Finding> {
    let mut findings = first;
    let (pins_of_first, pins_of_last) = (pins(&findings), pins(&last));
    for finding in &mut findings {
        if pin(finding).is_some_and(|pin| !pins_of_last.contains(&pin)) {
            finding.kind = FindingKind::Refused(WHY.to_owned());
        }
    }
    for finding in last {
        match &finding.kind {
            FindingKind::Pin { .. } => {
                if pin(&finding).is_some_and(|pin| !pins_of_first.contains(&pin)) {
                    let kind = FindingKind::Refused(WHY.to_owned());
                    findings.push(Finding { kind, ..finding });
                }
            }
            FindingKind::Refused(reason) => {
                let is_same = |other: &Finding| {
                    other.at == finding.at
                        && matches!(&other.kind, FindingKind::Refused(known) if known == reason)
                };
                if !findings.iter().any(is_same) {
                    findings.push(finding);
                }
            }
        }
    }
    findings
}

/// The offset and the image of a pin.
fn pin(finding: &Finding) -> Option<(usize, Option<usize>)> {
    matches!(finding.kind, FindingKind::Pin { .. }).then_some((finding.at, finding.image))
}

fn pins(findings: &[Finding]) -> HashSet<(usize, Option<usize>)> {
    findings.iter().filter_map(pin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_both_readers_are_reported_once() {
        let refused = |at, reason: &str| Finding::refused(0, None, at, reason.to_owned());
        let first = vec![refused(1, "a")];
        let last = vec![refused(1, "a"), refused(1, "b"), refused(2, "a")];
        let findings = reconcile(first, last).into_iter();
        let found: Vec<_> = findings
            .map(|finding| match finding.kind {
                FindingKind::Refused(reason) => (finding.at, reason),
                FindingKind::Pin { .. } => panic!("no pin"),
            })
            .collect();
        let expected = [(1, "a"), (1, "b"), (2, "a")];
        assert_eq!(found, expected.map(|(at, reason)| (at, reason.to_owned())));
    }
}
