//! Package URLs (`pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS#SUBPATH`).

use super::{Package, field};

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
    use super::*;

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
