//! The packages in the predicate of an SBOM attestation: SPDX 2.3, `CycloneDX` 1.5 and later.
//!
//! Package URLs (`pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS#SUBPATH`).

use serde::Deserialize;
use serde_json::Value;

use super::{MAX_PACKAGES, Package, PackagesByType, field};

const SPDX: [&str; 2] = [
    "https://spdx.dev/Document",
    "https://spdx.dev/Document/v2.3",
];
const CYCLONEDX: &str = "https://cyclonedx.org/bom";

#[derive(Clone, Copy)]
enum Format {
    Spdx,
    CycloneDx,
}

impl Format {
    fn from_predicate_type(predicate_type: &str) -> Option<Self> {
        if SPDX.contains(&predicate_type) {
            return Some(Self::Spdx);
        }
        match predicate_type.strip_prefix(CYCLONEDX)? {
            "" => Some(Self::CycloneDx),
            version if is_supported_version(version.strip_prefix("/v")?) => Some(Self::CycloneDx),
            _ => None,
        }
    }
}

/// Whether a version of `CycloneDX` is at least 1.5 and has the format of version 1.
fn is_supported_version(version: &str) -> bool {
    let Some(minor) = version.strip_prefix("1.") else {
        return false;
    };
    let is_number = minor.bytes().all(|byte| byte.is_ascii_digit());
    is_number && minor.parse::<u16>().is_ok_and(|minor| minor >= 5)
}

/// Whether a predicate of this type is an SBOM that repin reads.
pub(crate) fn is_sbom(predicate_type: &str) -> bool {
    Format::from_predicate_type(predicate_type).is_some()
}

/// The packages with a package URL in a predicate.
pub(crate) fn sbom_packages(
    predicate_type: &str,
    predicate: &Value,
) -> Result<PackagesByType, String> {
    let mut packages = PackageUrls::default();
    match Format::from_predicate_type(predicate_type) {
        None => return Err(format!("`{predicate_type}` is not the type of an SBOM")),
        Some(Format::Spdx) => packages.add_spdx(predicate)?,
        Some(Format::CycloneDx) => packages.add_cyclonedx(predicate)?,
    }
    Ok(packages.by_type)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spdx {
    spdx_version: String,
    #[serde(default)]
    packages: Vec<SpdxPackage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    #[serde(default)]
    external_refs: Vec<ExternalRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_type: String,
    reference_locator: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CycloneDx {
    bom_format: String,
    spec_version: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    purl: Option<String>,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Default)]
struct PackageUrls {
    by_type: PackagesByType,
    count: usize,
}

impl PackageUrls {
    fn add_spdx(&mut self, predicate: &Value) -> Result<(), String> {
        let document = Spdx::deserialize(predicate)
            .map_err(|error| format!("the SPDX document is malformed: {error}"))?;
        if document.spdx_version != "SPDX-2.3" {
            let version = document.spdx_version;
            return Err(format!("expected SPDX 2.3, found `{version}`"));
        }
        for package in &document.packages {
            for reference in &package.external_refs {
                if reference.reference_type == "purl" {
                    self.add(&reference.reference_locator)?;
                }
            }
        }
        Ok(())
    }

    fn add_cyclonedx(&mut self, predicate: &Value) -> Result<(), String> {
        let document = CycloneDx::deserialize(predicate)
            .map_err(|error| format!("the CycloneDX document is malformed: {error}"))?;
        let version = document.spec_version;
        if document.bom_format != "CycloneDX" || !is_supported_version(&version) {
            return Err(format!(
                "expected CycloneDX 1.5 or later, found {} `{version}`",
                document.bom_format
            ));
        }
        let mut pending = document.components;
        while let Some(component) = pending.pop() {
            if let Some(purl) = &component.purl {
                self.add(purl)?;
            }
            pending.extend(component.components);
        }
        Ok(())
    }

    fn add(&mut self, url: &str) -> Result<(), String> {
        self.count += 1;
        if self.count > MAX_PACKAGES {
            return Err(format!("it lists more than {MAX_PACKAGES} packages"));
        }
        let Some(parsed) = PackageUrl::parse(url) else {
            let start: String = url.chars().take(120).collect();
            return Err(format!("the package URL `{start}` is malformed"));
        };
        self.by_type
            .entry(parsed.package_type)
            .or_default()
            .insert(parsed.package);
        Ok(())
    }
}

/// A package URL as a package of its type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PackageUrl {
    pub(super) package_type: String,
    pub(super) package: Package,
}

/// The types whose namespace is a distribution, which is not a part of the package's name.
const DISTRIBUTIONS: [&str; 4] = ["deb", "apk", "rpm", "alpm"];

/// The version of a package whose URL has none.
const UNKNOWN: &str = "unknown";

impl PackageUrl {
    /// Parses a URL; `None` if it is malformed.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("pkg:")?.trim_start_matches('/');
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let (package_type, path) = rest.split_once('/')?;
        let is_type = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
        if package_type.is_empty() || !package_type.bytes().all(is_type) {
            return None;
        }
        let package_type = package_type.to_ascii_lowercase();
        // An `@` before the last slash belongs to a namespace, such as npm's scopes.
        let (path, version) = match path.rsplit_once('@') {
            Some((path, version)) if !path.is_empty() && !version.contains('/') => {
                (path, Some(version))
            }
            _ => (path, None),
        };
        let mut names = Vec::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            names.push(decode(name)?);
        }
        if DISTRIBUTIONS.contains(&package_type.as_str()) {
            names.drain(..names.len().saturating_sub(1));
        }
        let mut version = match version {
            Some(version) if !version.is_empty() => decode(version)?,
            _ => UNKNOWN.to_owned(),
        };
        let mut architecture = None;
        for qualifier in qualifiers.split('&') {
            match qualifier.split_once('=') {
                Some(("arch", value)) if !value.is_empty() => architecture = Some(decode(value)?),
                Some(("epoch", value)) if package_type == "rpm" && !value.is_empty() => {
                    version = format!("{}:{version}", decode(value)?);
                }
                _ => {}
            }
        }
        let checked = |text: String| field(text.as_bytes()).ok();
        Some(Self {
            package_type: checked(package_type)?,
            package: Package {
                name: checked(names.join("/"))?,
                version: checked(version)?,
                architecture: architecture.and_then(checked),
            },
        })
    }
}

/// Decodes `%XX`; `None` if the result is not UTF-8 or an escape is malformed.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = after.split_first_chunk::<2>()?;
        bytes.extend(hex::decode(digits).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(packages: &PackagesByType) -> Vec<String> {
        let mut lines = Vec::new();
        for (package_type, packages) in packages {
            for package in packages {
                lines.push(format!(
                    "{package_type} {} {}",
                    package.name, package.version
                ));
            }
        }
        lines
    }

    #[test]
    fn packages_of_all_ecosystems_are_read() {
        let purl = |purl: &str| json!({"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl});
        let cpe = json!({"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a"});
        let spdx = json!({"spdxVersion": "SPDX-2.3", "name": "app", "packages": [
            {"name": "openssl", "externalRefs": [cpe, purl("pkg:deb/debian/openssl@3.0.11-1?arch=amd64")]},
            {"name": "left-pad", "externalRefs": [purl("pkg:npm/left-pad@1.3.0")]},
            {"name": "app"},
        ]});
        let expected = ["deb openssl 3.0.11-1", "npm left-pad 1.3.0"];
        for predicate_type in SPDX {
            let packages = sbom_packages(predicate_type, &spdx).unwrap();
            assert_eq!(lines(&packages), expected);
        }
        let cyclonedx = json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [
            {"type": "library", "name": "openssl", "purl": "pkg:deb/debian/openssl@3.0.11-1?arch=amd64",
             "components": [{"type": "library", "purl": "pkg:npm/left-pad@1.3.0"}]},
            {"type": "file", "name": "app"},
        ]});
        for predicate_type in [
            "https://cyclonedx.org/bom",
            "https://cyclonedx.org/bom/v1.6",
        ] {
            let packages = sbom_packages(predicate_type, &cyclonedx).unwrap();
            assert_eq!(lines(&packages), expected);
        }
    }

    #[test]
    fn other_versions_of_sboms_are_refused() {
        for predicate_type in [
            "https://spdx.dev/Document/v2.2",
            "https://spdx.dev/Document/v3",
            "https://cyclonedx.org/bom/v1.4",
            "https://cyclonedx.org/bom/v2.0",
            "https://cyclonedx.org/bom/v1.+5",
            "https://cyclonedx.org/bomb",
            "https://slsa.dev/provenance/v1",
        ] {
            assert!(
                Format::from_predicate_type(predicate_type).is_none(),
                "{predicate_type}"
            );
        }
        let spdx = json!({"spdxVersion": "SPDX-2.2", "packages": []});
        assert!(sbom_packages(SPDX[0], &spdx).is_err());
        let cyclonedx = json!({"bomFormat": "CycloneDX", "specVersion": "1.4"});
        assert!(sbom_packages(CYCLONEDX, &cyclonedx).is_err());
        assert!(sbom_packages(SPDX[0], &json!("text")).is_err());
    }

    #[test]
    fn malformed_package_url_makes_the_sbom_unreadable() {
        let sbom = json!({"bomFormat": "CycloneDX", "specVersion": "1.5",
            "components": [{"purl": "pkg:npm/a@1"}, {"purl": "npm/b"}]});
        let reason = sbom_packages(CYCLONEDX, &sbom).unwrap_err();
        assert_eq!(reason, "the package URL `npm/b` is malformed");
    }

    fn parsed(url: &str) -> Option<String> {
        let PackageUrl {
            package_type,
            package,
        } = PackageUrl::parse(url)?;
        let architecture = package
            .architecture
            .map(|name| format!(" {name}"))
            .unwrap_or_default();
        Some(format!(
            "{package_type} {} {}{architecture}",
            package.name, package.version
        ))
    }

    #[test]
    fn package_urls_have_types_names_and_versions() {
        for (url, package) in [
            (
                "pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie",
                "deb curl 7.50.3-1 i386",
            ),
            (
                "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=x86_64&epoch=2#a",
                "rpm curl 2:7.50.3-1.fc25 x86_64",
            ),
            ("pkg:deb/debian/zlib1g@1%3A1.2.13", "deb zlib1g 1:1.2.13"),
            (
                "pkg:npm/%40angular/animation@12.3.1",
                "npm @angular/animation 12.3.1",
            ),
            (
                "pkg:npm/@angular/animation",
                "npm @angular/animation unknown",
            ),
            (
                "pkg:golang/google.golang.org/genproto#googleapis/api",
                "golang google.golang.org/genproto unknown",
            ),
            ("pkg:PyPI/django@1.11.1", "pypi django 1.11.1"),
            ("pkg://cargo/rand@0.7.2", "cargo rand 0.7.2"),
        ] {
            assert_eq!(parsed(url).as_deref(), Some(package), "{url}");
        }
    }

    #[test]
    fn malformed_package_urls_are_refused() {
        for url in [
            "",
            "npm/x@1",
            "pkg:npm",
            "pkg:npm/",
            "pkg:/x@1/",
            "pkg:n pm/x@1",
            "pkg:npm/x@%zz",
            "pkg:npm/x%4",
            "pkg:npm/%ff@1",
        ] {
            assert_eq!(parsed(url), None, "{url}");
        }
        assert_eq!(parsed(&format!("pkg:npm/{}", "x".repeat(2000))), None);
    }
}
