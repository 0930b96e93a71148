//! The variables of AWS's programs, and the endpoints of a repository's host.

use std::{collections::BTreeMap, ffi::OsString};

use reqwest::Url;

use crate::{
    base::http::address::is_safe_for_credentials, oci::registry::remote::settings::set_variables,
};

/// The variables of AWS's programs.
#[derive(Clone, Default)]
pub(crate) struct AwsEnvironment(BTreeMap<&'static str, OsString>);

impl AwsEnvironment {
    pub(crate) const NAMES: [&'static str; 18] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_ENDPOINT_URL_ECR",
        "AWS_ENDPOINT_URL_STS",
        "AWS_ENDPOINT_URL",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "HOME",
    ];

    /// Looks up the variables of [`Self::NAMES`]; an empty variable counts as unset.
    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        Self(set_variables(&Self::NAMES, lookup))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str()
    }

    /// The address of a service, which a variable may replace.
    pub(super) fn endpoint(&self, variable: &str, address: &str) -> Result<Url, String> {
        let is_ignored = self.text("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") == Some("true");
        let names = [variable, "AWS_ENDPOINT_URL"];
        let configured = names
            .iter()
            .find_map(|name| Some((*name, self.text(name)?)));
        let (name, text) = match configured {
            Some((name, text)) if !is_ignored => (name, text),
            _ => (variable, address),
        };
        let url = Url::parse(text).map_err(|error| format!("{name} is not a URL: {error}"))?;
        if is_safe_for_credentials(&url) {
            Ok(url)
        } else {
            Err(format!(
                "{name} must be an HTTPS URL, because credentials are sent there"
            ))
        }
    }
}

/// The account, region and services of a repository's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) account: String,
    pub(super) region: String,
    pub(super) ecr: String,
    pub(super) sts: String,
}

impl Location {
    /// Parses `ACCOUNT.dkr.ecr.REGION.amazonaws.com`, with `-fips`, `.cn`, or the dual-stack form
    /// `ACCOUNT.dkr-ecr.REGION.on.aws` (Amazon ECR User Guide, "Making requests to Amazon ECR").
    pub(super) fn parse(host: &str) -> Option<Self> {
        let labels: Vec<&str> = host.split('.').collect();
        let (account, service, region, domain) = match labels.as_slice() {
            [account, "dkr", service, region, "amazonaws", "com"] => {
                (*account, *service, *region, "amazonaws.com")
            }
            [account, "dkr", service, region, "amazonaws", "com", "cn"] => {
                (*account, *service, *region, "amazonaws.com.cn")
            }
            [account, "dkr-ecr", region, "on", "aws"] => (*account, "ecr", *region, "api.aws"),
            [account, "dkr-ecr-fips", region, "on", "aws"] => {
                (*account, "ecr-fips", *region, "api.aws")
            }
            _ => return None,
        };
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let ecr = match (service, domain) {
            ("ecr", "api.aws") => format!("https://ecr.{region}.api.aws"),
            ("ecr", _) => format!("https://api.ecr.{region}.{domain}"),
            ("ecr-fips", _) => format!("https://ecr-fips.{region}.{domain}"),
            _ => return None,
        };
        let sts_domain = if domain == "api.aws" {
            "amazonaws.com"
        } else {
            domain
        };
        is_account.then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            ecr,
            sts: format!("https://sts.{region}.{sts_domain}"),
        })
    }
}

/// Whether a host is one of Amazon ECR.
pub(crate) fn is_ecr(host: &str) -> bool {
    Location::parse(host).is_some()
}

impl std::fmt::Debug for AwsEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_ecr_have_their_endpoints() {
        let endpoints =
            |host| Location::parse(host).map(|found| (found.region, found.ecr, found.sts));
        let expected = |region: &str, ecr: &str, sts: &str| {
            Some((
                region.to_owned(),
                format!("https://{ecr}"),
                format!("https://{sts}"),
            ))
        };
        for (host, found) in [
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                expected(
                    "eu-west-1",
                    "api.ecr.eu-west-1.amazonaws.com",
                    "sts.eu-west-1.amazonaws.com",
                ),
            ),
            (
                "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
                expected(
                    "us-east-1",
                    "ecr-fips.us-east-1.amazonaws.com",
                    "sts.us-east-1.amazonaws.com",
                ),
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                expected(
                    "cn-north-1",
                    "api.ecr.cn-north-1.amazonaws.com.cn",
                    "sts.cn-north-1.amazonaws.com.cn",
                ),
            ),
            (
                "123456789012.dkr-ecr.eu-west-1.on.aws",
                expected(
                    "eu-west-1",
                    "ecr.eu-west-1.api.aws",
                    "sts.eu-west-1.amazonaws.com",
                ),
            ),
            ("public.ecr.aws", None),
            ("12345.dkr.ecr.eu-west-1.amazonaws.com", None),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
                None,
            ),
        ] {
            assert_eq!(endpoints(host), found, "{host}");
        }
    }
}
