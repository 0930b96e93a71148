//! The packages in the SBOMs that signers of the policy attached to an image.

use crate::{
    base::error::Error,
    contents::{PackagesByType, is_sbom, sbom_packages},
    oci::registry::Source,
    trust::{Policy, Subject, search_predicates},
};

/// The packages in the SBOMs of a digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SbomPackages {
    /// The packages of all SBOMs; `None` without an SBOM, and if one of them is malformed.
    pub packages: Option<PackagesByType>,
    /// The reasons for which SBOMs are not read.
    pub not_read: Vec<String>,
}

/// Reads the SBOMs that are attached to a digest. Only those by a signer of the policy count, made for
/// the revision.
pub(crate) async fn read_sboms(
    source: &Source,
    policy: &Policy<'_>,
    subject: Subject<'_>,
) -> Result<SbomPackages, Error> {
    let found = search_predicates(source, policy, subject, is_sbom).await?;
    let mut packages = PackagesByType::new();
    let mut not_read = found.refused;
    let mut is_complete = !found.predicates.is_empty();
    for signed in &found.predicates {
        match sbom_packages(&signed.predicate_type, &signed.predicate) {
            Ok(listed) => {
                for (package_type, listed) in listed {
                    packages.entry(package_type).or_default().extend(listed);
                }
            }
            Err(reason) => {
                is_complete = false;
                not_read.push(format!("`{}`: {reason}", signed.predicate_type));
            }
        }
    }
    Ok(SbomPackages {
        packages: is_complete.then_some(packages),
        not_read,
    })
}
