//! The credentials for AWS: variables, a web identity, a profile, or the endpoint of a container, in this order
//! (AWS SDKs and Tools Reference Guide, "Standardized credential providers").

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;

use super::{AwsEnvironment, sign::Credentials};
use crate::{
    base::{
        http::{
            Body, Call,
            address::{host_of, is_loopback},
        },
        input_file,
        untrusted::{Secret, plain},
    },
    oci::{
        date,
        registry::remote::{request_error::RequestError, settings::RegistryClient},
    },
};

/// The maximum size of a file with credentials or of a response, in bytes.
const MAX: u64 = 256 * 1024;
/// The address of the credentials of a task, and those of a pod (Amazon ECS and EKS documentation).
const CONTAINER: &str = "http://169.254.170.2";
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
const HINT: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or let the job assume a role; for other methods: \
                    eval \"$(aws configure export-credentials --format env)\"";

/// The response of a container's endpoint, and the credentials in the response of STS.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken")]
    token: String,
    expiration: Option<serde_json::Value>,
}

/// A role that a web identity assumes.
struct WebIdentity {
    role: String,
    token_file: PathBuf,
    session: String,
}

/// Finds the credentials of the run.
pub(super) async fn find(
    environment: &AwsEnvironment,
    sts: &Url,
    client: &RegistryClient,
) -> Result<Credentials, RequestError> {
    if let (Some(access_key), Some(secret)) = (
        environment.text("AWS_ACCESS_KEY_ID"),
        environment.text("AWS_SECRET_ACCESS_KEY"),
    ) {
        return Ok(Credentials {
            access_key: access_key.to_owned(),
            secret_key: hidden(secret, client),
            session_token: environment
                .text("AWS_SESSION_TOKEN")
                .map(|token| hidden(token, client)),
            expires: None,
            origin: "AWS_ACCESS_KEY_ID".to_owned(),
        });
    }
    if let (Some(file), Some(role)) = (
        environment.text("AWS_WEB_IDENTITY_TOKEN_FILE"),
        environment.text("AWS_ROLE_ARN"),
    ) {
        let identity = WebIdentity {
            role: role.to_owned(),
            token_file: PathBuf::from(file),
            session: environment
                .text("AWS_ROLE_SESSION_NAME")
                .unwrap_or("repin")
                .to_owned(),
        };
        return assume(&identity, sts, client).await;
    }
    match profile(environment, client)? {
        Profile::Keys(credentials) => return Ok(credentials),
        Profile::WebIdentity(identity) => return assume(&identity, sts, client).await,
        Profile::Absent => {}
    }
    container(environment, client).await
}

/// A secret, which no message shows from now on.
fn hidden(text: &str, client: &RegistryClient) -> Secret {
    client.secrets.hide(text);
    Secret::new(text.to_owned())
}

fn denied(reason: impl Into<String>) -> RequestError {
    RequestError::denied(reason).hint(HINT)
}

/// Exchanges the token of a web identity for credentials (STS, `AssumeRoleWithWebIdentity`).
async fn assume(
    identity: &WebIdentity,
    sts: &Url,
    client: &RegistryClient,
) -> Result<Credentials, RequestError> {
    let file = &identity.token_file;
    let token = read(file)?;
    let token = hidden(token.trim(), client);
    let mut form = sts.clone();
    form.query_pairs_mut()
        .append_pair("Action", "AssumeRoleWithWebIdentity")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", &identity.role)
        .append_pair("RoleSessionName", &identity.session)
        .append_pair("WebIdentityToken", token.expose());
    let mut call = Call::get(sts.clone(), MAX);
    call.method = Method::POST;
    call.content = form.query().map(str::to_owned);
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    call.headers.insert(CONTENT_TYPE, kind);
    call.headers
        .insert(ACCEPT, HeaderValue::from_static("application/json"));
    let body = fetch(&call, "STS", client).await?;
    let origin = format!(
        "the role {} of AWS_WEB_IDENTITY_TOKEN_FILE",
        plain(&identity.role)
    );
    let malformed = || RequestError::unavailable("the response of STS contains no credentials");
    let text = String::from_utf8_lossy(&body);
    if text.trim_start().starts_with('{') {
        let document: serde_json::Value = serde_json::from_slice(&body).map_err(|_| malformed())?;
        let result =
            &document["AssumeRoleWithWebIdentityResponse"]["AssumeRoleWithWebIdentityResult"];
        let response = serde_json::from_value(result["Credentials"].clone());
        return Ok(credentials(
            response.map_err(|_| malformed())?,
            origin,
            client,
        ));
    }
    // STS responds with XML unless it knows the type in `Accept`.
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.to_owned())
    };
    let response = Response {
        access_key_id: element("AccessKeyId").ok_or_else(malformed)?,
        secret_access_key: element("SecretAccessKey").ok_or_else(malformed)?,
        token: element("SessionToken").ok_or_else(malformed)?,
        expiration: element("Expiration").map(Into::into),
    };
    Ok(credentials(response, origin, client))
}

fn credentials(response: Response, origin: String, client: &RegistryClient) -> Credentials {
    let expires = match &response.expiration {
        Some(serde_json::Value::String(text)) => date::parse(text),
        Some(number) => number.as_f64().and_then(super::time_of),
        None => None,
    };
    Credentials {
        access_key: response.access_key_id,
        secret_key: hidden(&response.secret_access_key, client),
        session_token: Some(hidden(&response.token, client)),
        expires,
        origin,
    }
}

/// The credentials of a container's endpoint.
async fn container(
    environment: &AwsEnvironment,
    client: &RegistryClient,
) -> Result<Credentials, RequestError> {
    let relative = environment.text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let (name, text) = match (
        relative,
        environment.text("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ) {
        (Some(path), _) => (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            format!("{CONTAINER}{path}"),
        ),
        (None, Some(url)) => ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.to_owned()),
        (None, None) => return Err(denied("no AWS credentials found")),
    };
    let url = Url::parse(&text).map_err(|_| denied(format!("{name} is not a URL")))?;
    let host = url.host_str().unwrap_or_default();
    let is_trusted = is_loopback(&host_of(&url)) || CONTAINER_HOSTS.contains(&host);
    if url.scheme() != "https" && !is_trusted {
        return Err(denied(format!(
            "{name} is neither an HTTPS URL nor on this machine"
        )));
    }
    let mut call = Call::get(url, MAX);
    let token = match environment.text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(read(Path::new(file))?),
        None => environment
            .text("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .map(str::to_owned),
    };
    if let Some(token) = token {
        let token = hidden(token.trim(), client);
        let mut value = HeaderValue::from_str(token.expose())
            .map_err(|_| denied("the authorization token of the container is malformed"))?;
        value.set_sensitive(true);
        call.authorization = Some(value);
    }
    let body = fetch(&call, "the container's endpoint", client).await?;
    let response = serde_json::from_slice(&body).map_err(|_| {
        RequestError::unavailable(
            "the response of the container's endpoint contains no credentials",
        )
    })?;
    Ok(credentials(response, name.to_owned(), client))
}

async fn fetch(
    call: &Call,
    server: &str,
    client: &RegistryClient,
) -> Result<Vec<u8>, RequestError> {
    let reply = client.send(call, client.deadline()).await?;
    let Body::Complete(body) = reply.body else {
        return Err(RequestError::unavailable("the response was not read"));
    };
    match reply.status {
        StatusCode::OK => Ok(body),
        status if status.is_client_error() => {
            let text = client.status_text(status, &body);
            Err(denied(format!("no AWS credentials from {server}: {text}")))
        }
        status => Err(RequestError::unavailable(client.status_text(status, &body))),
    }
}

enum Profile {
    Keys(Credentials),
    WebIdentity(WebIdentity),
    Absent,
}

/// The profile of `AWS_PROFILE`, or `default`, in the files of AWS's programs.
fn profile(environment: &AwsEnvironment, client: &RegistryClient) -> Result<Profile, RequestError> {
    let named = environment.text("AWS_PROFILE");
    let name = named.unwrap_or("default");
    let file = |variable: &str, default: &str| match environment.text(variable) {
        Some(file) => Some(PathBuf::from(file)),
        None => Some(
            Path::new(environment.text("HOME")?)
                .join(".aws")
                .join(default),
        ),
    };
    let mut keys = BTreeMap::new();
    let mut origin = String::new();
    let section = if name == "default" {
        "default".to_owned()
    } else {
        format!("profile {name}")
    };
    // The file of credentials comes first.
    for (variable, default, section) in [
        ("AWS_CONFIG_FILE", "config", section.as_str()),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ] {
        let Some(path) = file(variable, default) else {
            continue;
        };
        if !path.exists() && environment.text(variable).is_none() {
            continue;
        }
        let found = section_of(&read(&path)?, section);
        if !found.is_empty() {
            origin = format!("the profile {} of {}", plain(name), path.display());
            keys.extend(found);
        }
    }
    let key = |name: &str| keys.get(name).cloned();
    if let (Some(access_key), Some(secret)) =
        (key("aws_access_key_id"), key("aws_secret_access_key"))
    {
        return Ok(Profile::Keys(Credentials {
            access_key,
            secret_key: hidden(&secret, client),
            session_token: key("aws_session_token").map(|token| hidden(&token, client)),
            expires: None,
            origin,
        }));
    }
    if let (Some(role), Some(file)) = (key("role_arn"), key("web_identity_token_file")) {
        return Ok(Profile::WebIdentity(WebIdentity {
            role,
            token_file: PathBuf::from(file),
            session: key("role_session_name").unwrap_or_else(|| "repin".to_owned()),
        }));
    }
    if named.is_some()
        || !keys.is_empty()
            && [
                "role_arn",
                "sso_session",
                "sso_start_url",
                "credential_process",
            ]
            .iter()
            .any(|name| keys.contains_key(*name))
    {
        return Err(denied(format!(
            "the profile {} contains neither keys nor a web identity",
            plain(name)
        )));
    }
    Ok(Profile::Absent)
}

/// The keys of a section of an INI file.
fn section_of(text: &str, section: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut is_section = false;
    for line in text.lines() {
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            is_section = name.split_ascii_whitespace().collect::<Vec<_>>().join(" ") == section;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_section && !is_nested)
        {
            keys.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    keys
}

fn read(file: &Path) -> Result<String, RequestError> {
    let name = file.display();
    let bytes = input_file::read(file, MAX)
        .map_err(|error| denied(format!("cannot read {name}: {error}")))?;
    String::from_utf8(bytes).map_err(|_| denied(format!("{name} is not UTF-8")))
}

/// Whether credentials are used up, or will be during the next requests.
pub(super) fn is_expired(credentials: &Credentials, now: SystemTime) -> bool {
    let margin = std::time::Duration::from_secs(300);
    credentials
        .expires
        .is_some_and(|expires| expires < now + margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_a_profile_are_read() {
        let text = "[default]\naws_access_key_id = A\n# comment\ns3 =\n  aws_access_key_id = nested\n\
                    [profile  ci]\nAWS_ACCESS_KEY_ID=B\nrole_arn = r\n";
        let keys = |section| section_of(text, section).into_iter().collect::<Vec<_>>();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            keys("default"),
            [pair("aws_access_key_id", "A"), pair("s3", "")]
        );
        assert_eq!(
            keys("profile ci"),
            [pair("aws_access_key_id", "B"), pair("role_arn", "r")]
        );
        assert_eq!(keys("ci"), []);
    }
}
