//! Readers that choose different entries of a duplicate key.

use std::collections::HashSet;

use super::{Finding, FindingKind};

const WHY: &str = "a duplicate key in this document decides whose digest this is: YAML forbids it, and readers take the first or the last one";

/// Refuses the entries that readers of a document with duplicate keys interpret differently:
/// `findings` are those of a reader that uses the first entry with a key, `last` those of a reader
/// that uses the last one.
pub(super) fn reconcile(findings: &mut Vec<Finding>, last: Vec<Finding>) {
    let (pins_of_first, pins_of_last) = (pins(findings), pins(&last));
    for finding in findings.iter_mut() {
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
}

/// The offset and the image of a pin.
fn pin(finding: &Finding) -> Option<(usize, Option<usize>)> {
    matches!(finding.kind, FindingKind::Pin { .. }).then_some((finding.at, finding.image))
}

fn pins(findings: &[Finding]) -> HashSet<(usize, Option<usize>)> {
    findings.iter().filter_map(pin).collect()
}
