//! The native API of Amazon ECR (Amazon ECR API Reference), which lists versions with their tags and dates and
//! deletes them: its distribution API answers 405 to DELETE.

mod credentials;
mod location;
mod sign;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

pub(crate) use self::location::{AwsEnvironment, is_ecr};
use self::{location::Location, sign::Credentials};
use super::{Registries, request_error::RequestError};
use crate::{
    base::{
        error::Error,
        http::{Body, Call, Clock, Reply},
        untrusted::plain,
    },
    oci::{Digest, RawManifest, Repository, Tag, registry::Blocker},
};

use super::Deletion;

/// The maximum number of images in one request to `BatchGetImage`.
pub(crate) const MAX_IMAGES: usize = 100;
const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921";
const CONTENT: &str = "application/x-amz-json-1.1";
/// The maximum size of a response, in bytes: 100 manifests, or 1,000 images.
const MAX_RESPONSE: u64 = 64 * 1024 * 1024;
const MAX_PAGES: usize = 5_000;
/// The attempts of a request that ECR throttles, and the first pause. Each further one is twice as long.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_secs(1);

/// A repository of Amazon ECR.
#[derive(Debug)]
pub(crate) struct EcrRepository {
    registries: Registries,
    name: String,
    location: Location,
    endpoint: Url,
    sts: Url,
    environment: AwsEnvironment,
    credentials: Mutex<Option<Credentials>>,
}

/// A version of an image, as `DescribeImages` returns it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageDetail {
    image_digest: String,
    #[serde(default)]
    image_tags: Vec<String>,
    image_pushed_at: Option<Value>,
    last_recorded_pull_time: Option<Value>,
    image_manifest_media_type: Option<String>,
    artifact_media_type: Option<String>,
    image_status: Option<String>,
    subject_manifest_digest: Option<String>,
}

/// A version of an image.
#[derive(Debug, Clone)]
pub(crate) struct EcrImage {
    pub(crate) digest: Digest,
    /// All tags, sorted.
    pub(crate) tags: Vec<Tag>,
    pub(crate) pushed: Option<SystemTime>,
    pub(crate) last_pull: Option<SystemTime>,
    pub(crate) media_type: Option<String>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) subject: Option<Digest>,
    /// Whether it can be pulled; an archived image cannot.
    pub(crate) is_active: bool,
}

/// All versions of a repository.
#[derive(Debug)]
pub(crate) struct EcrImages {
    pub(crate) images: Vec<EcrImage>,
    pub(crate) clock: Clock,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImagesPage {
    image_details: Vec<ImageDetail>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestPage {
    #[serde(default)]
    images: Vec<ManifestRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct ManifestRow {
    image_id: ImageId,
    image_manifest: String,
    image_manifest_media_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageId {
    image_digest: Option<String>,
}

#[derive(Deserialize)]
struct DeletedPage {
    #[serde(default)]
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    failure_code: Option<String>,
    failure_reason: Option<String>,
}

/// The response to an operation with its document, or the code of its error with the message.
enum Answer {
    Done(Value, Reply),
    Failed(String, RequestError),
}

impl Registries {
    /// A repository of Amazon ECR. Sends no request.
    pub(crate) fn ecr(
        &self,
        repository: &Repository,
        environment: AwsEnvironment,
    ) -> Result<EcrRepository, String> {
        let host = repository.host();
        let location = Location::parse(host).ok_or_else(|| {
            format!("{host} is not a host of Amazon ECR, such as 123456789012.dkr.ecr.eu-west-1.amazonaws.com")
        })?;
        Ok(EcrRepository {
            registries: self.clone(),
            name: repository.path().to_owned(),
            endpoint: environment.endpoint("AWS_ENDPOINT_URL_ECR", &location.ecr)?,
            sts: environment.endpoint("AWS_ENDPOINT_URL_STS", &location.sts)?,
            location,
            environment,
            credentials: Mutex::default(),
        })
    }
}

/// The filter of `DescribeImages` for images of every status: without it, ECR omits archived images (Amazon ECR API
/// Reference, `DescribeImagesFilter`).
fn all_images() -> Value {
    json!({"imageStatus": "ANY"})
}

impl EcrRepository {
    /// All versions. `on_page` receives the number of versions so far.
    pub(crate) async fn images(&self, on_page: &dyn Fn(usize)) -> Result<EcrImages, Error> {
        let (mut images, mut token) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let mut input = json!({"maxResults": 1000, "filter": all_images()});
            if let Some(token) = &token {
                input["nextToken"] = json!(token);
            }
            let (page, reply): (ImagesPage, Reply) = self.call("DescribeImages", input).await?;
            for detail in page.image_details {
                images.push(self.image(detail)?);
            }
            on_page(images.len());
            let client = &self.registries.0.client;
            let Some(next) = page.next_token.filter(|next| !next.is_empty()) else {
                let clock = Clock::from_headers(&reply.headers, client.http.now());
                return Ok(EcrImages { images, clock });
            };
            if token.as_ref() == Some(&next) {
                break;
            }
            token = Some(next);
        }
        Err(Error::unavailable(
            self.to_string(),
            "the listing does not end",
        ))
    }

    /// The version with a digest; `None` if it is missing.
    pub(crate) async fn image_of(&self, digest: Digest) -> Result<Option<EcrImage>, Error> {
        self.described(json!({"imageDigest": digest.to_string()}))
            .await
    }

    /// The version with a tag; `None` if it is missing.
    pub(crate) async fn image_tagged(&self, tag: &Tag) -> Result<Option<EcrImage>, Error> {
        self.described(json!({"imageTag": tag})).await
    }

    async fn described(&self, id: Value) -> Result<Option<EcrImage>, Error> {
        let input = json!({"imageIds": [id], "filter": all_images()});
        let document = match self.request("DescribeImages", input).await? {
            Answer::Done(document, _) => document,
            Answer::Failed(code, _) if code == "ImageNotFoundException" => return Ok(None),
            Answer::Failed(_, error) => return Err(self.error(error, "DescribeImages")),
        };
        let page: ImagesPage = self.parse(document, "DescribeImages")?;
        let detail = page.image_details.into_iter().next();
        detail.map(|detail| self.image(detail)).transpose()
    }

    /// The manifests of at most [`MAX_IMAGES`] digests; missing and archived ones are omitted.
    pub(crate) async fn manifests(
        &self,
        digests: &[Digest],
    ) -> Result<BTreeMap<Digest, RawManifest>, Error> {
        let ids: Vec<_> = digests
            .iter()
            .map(|digest| json!({"imageDigest": digest.to_string()}))
            .collect();
        let types: Vec<&str> = super::MANIFESTS.split(", ").collect();
        let input = json!({"imageIds": ids, "acceptedMediaTypes": types});
        let (page, _): (ManifestPage, Reply) = self.call("BatchGetImage", input).await?;
        let mut manifests = BTreeMap::new();
        for row in page.images {
            let claimed = row.image_id.image_digest.and_then(|text| text.parse().ok());
            let raw = RawManifest {
                bytes: row.image_manifest.into_bytes(),
                media_type: row.image_manifest_media_type,
                claimed,
            };
            if let Some(digest) = claimed {
                manifests.insert(digest, raw);
            }
        }
        Ok(manifests)
    }

    /// Deletes a version with all of its tags, also immutable ones.
    pub(crate) async fn delete(&self, digest: Digest) -> Result<Deletion, Error> {
        let input = json!({"imageIds": [{"imageDigest": digest.to_string()}]});
        let (page, reply): (DeletedPage, Reply) = self.call("BatchDeleteImage", input).await?;
        let Some(failure) = page.failures.into_iter().next() else {
            return Ok(Deletion::Deleted);
        };
        let code = failure.failure_code.unwrap_or_default();
        let reason = plain(&failure.failure_reason.unwrap_or_else(|| code.clone()));
        Ok(match code.as_str() {
            "ImageNotFound" if reply.is_repeat => Deletion::MissingAfterAttempt,
            "ImageNotFound" => Deletion::Missing,
            "ImageReferencedByManifestList" => Deletion::Blocked {
                blocker: Blocker::Parent,
                reason,
            },
            _ => Deletion::Refused(reason),
        })
    }

    /// Puts a tag on a manifest.
    pub(crate) async fn set_tag(
        &self,
        digest: Digest,
        tag: &Tag,
        raw: &RawManifest,
    ) -> Result<(), Error> {
        let input = json!({
            "imageManifest": String::from_utf8_lossy(&raw.bytes),
            "imageManifestMediaType": raw.media_type,
            "imageTag": tag,
            "imageDigest": digest.to_string(),
        });
        match self.request("PutImage", input).await? {
            Answer::Done(..) => Ok(()),
            Answer::Failed(_, error) => Err(self.error(error, "PutImage")),
        }
    }

    fn image(&self, detail: ImageDetail) -> Result<EcrImage, Error> {
        let malformed = |what: &str, text: &str| {
            let reason = format!(
                "DescribeImages returned a malformed {what}: `{}`",
                plain(text)
            );
            Error::unavailable(self.to_string(), reason)
        };
        let digest = |text: &str| -> Result<Digest, Error> {
            text.parse().map_err(|_| malformed("digest", text))
        };
        let mut tags = Vec::new();
        for tag in &detail.image_tags {
            tags.push(Tag::parse(tag).map_err(|_| malformed("tag", tag))?);
        }
        tags.sort_unstable();
        let time = |value: &Option<Value>| value.as_ref().and_then(Value::as_f64).and_then(time_of);
        Ok(EcrImage {
            digest: digest(&detail.image_digest)?,
            tags,
            pushed: time(&detail.image_pushed_at),
            last_pull: time(&detail.last_recorded_pull_time),
            media_type: detail.image_manifest_media_type,
            artifact_type: detail.artifact_media_type,
            subject: match &detail.subject_manifest_digest {
                Some(subject) => Some(digest(subject)?),
                None => None,
            },
            is_active: detail.image_status.is_none_or(|status| status == "ACTIVE"),
        })
    }

    /// Calls an operation on this repository.
    async fn call<T: for<'de> Deserialize<'de>>(
        &self,
        operation: &str,
        input: Value,
    ) -> Result<(T, Reply), Error> {
        match self.request(operation, input).await? {
            Answer::Done(document, reply) => Ok((self.parse(document, operation)?, reply)),
            Answer::Failed(_, error) => Err(self.error(error, operation)),
        }
    }

    fn parse<T: for<'de> Deserialize<'de>>(
        &self,
        document: Value,
        operation: &str,
    ) -> Result<T, Error> {
        serde_json::from_value(document).map_err(|error| {
            let error = RequestError::unavailable(format!("unexpected response: {error}"));
            self.error(error, operation)
        })
    }

    /// Sends an operation, and repeats it while ECR throttles requests.
    async fn request(&self, operation: &str, mut input: Value) -> Result<Answer, Error> {
        input["registryId"] = json!(self.location.account);
        input["repositoryName"] = json!(self.name);
        let body = input.to_string();
        let mut pause = PAUSE;
        for attempt in 1.. {
            let answer = self.send(operation, &body).await;
            let answer = answer.map_err(|error| self.error(error, operation))?;
            match &answer {
                Answer::Failed(code, _) if is_throttling(code) && attempt < ATTEMPTS => {}
                _ => return Ok(answer),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Error::unavailable(self.to_string(), "too many attempts"))
    }

    async fn send(&self, operation: &str, body: &str) -> Result<Answer, RequestError> {
        let client = &self.registries.0.client;
        let credentials = self.current_credentials().await?;
        let target = format!("{TARGET}.{operation}");
        let token = credentials
            .session_token
            .as_ref()
            .map(crate::base::untrusted::Secret::expose);
        let mut headers = vec![("content-type", CONTENT), ("x-amz-target", target.as_str())];
        headers.extend(token.map(|token| ("x-amz-security-token", token)));
        let signature = sign::sign(
            &sign::Request {
                method: "POST",
                url: &self.endpoint,
                headers: &headers,
                body: body.as_bytes(),
                region: &self.location.region,
                service: "ecr",
                time: client.http.now()(),
            },
            &credentials,
        );
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| {
                RequestError::denied("the AWS credentials contain characters that cannot be sent")
            })
        };
        let mut call = Call::get(self.endpoint.clone(), MAX_RESPONSE);
        call.method = Method::POST;
        call.content = Some(body.to_owned());
        for (name, text) in headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| RequestError::unavailable("malformed header"))?;
            let mut value = value(text)?;
            value.set_sensitive(name == "x-amz-security-token");
            call.headers.insert(name, value);
        }
        call.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        call.headers.insert("x-amz-date", value(&signature.date)?);
        let mut authorization = value(&signature.authorization)?;
        authorization.set_sensitive(true);
        call.authorization = Some(authorization);
        let reply = client.send(&call, client.deadline()).await?;
        let Body::Complete(bytes) = &reply.body else {
            return Err(RequestError::unavailable("the response was not read"));
        };
        let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if reply.status == StatusCode::OK {
            return Ok(Answer::Done(document, reply));
        }
        Ok(Answer::Failed(
            error_code(&document),
            failure(
                &document,
                reply.status,
                &credentials,
                client.status_text(reply.status, bytes),
            ),
        ))
    }

    /// The credentials of the run, renewed before they expire.
    async fn current_credentials(&self) -> Result<Credentials, RequestError> {
        let client = &self.registries.0.client;
        let mut current = self.credentials.lock().await;
        if let Some(known) = current.as_ref()
            && !credentials::is_expired(known, client.http.now()())
        {
            return Ok(known.clone());
        }
        let found = credentials::find(&self.environment, &self.sts, client).await?;
        *current = Some(found.clone());
        Ok(found)
    }

    fn error(&self, error: RequestError, operation: &str) -> Error {
        let name = format!("{operation} of {self}");
        self.registries.0.client.error(error, &name)
    }
}

/// The code of an error: `com.amazonaws.ecr#RepositoryNotFoundException`, with or without the part before `#`.
fn error_code(document: &Value) -> String {
    let code = document["__type"].as_str().unwrap_or_default();
    code.rsplit('#').next().unwrap_or_default().to_owned()
}

fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException" | "TooManyRequestsException" | "LimitExceededException"
    )
}

/// The error of an operation: refused credentials are exit 4.
fn failure(
    document: &Value,
    status: StatusCode,
    credentials: &Credentials,
    status_text: String,
) -> RequestError {
    let code = error_code(document);
    let reason = match document["message"]
        .as_str()
        .or(document["Message"].as_str())
    {
        Some(message) => format!("{code}: {}", plain(message)),
        None => status_text,
    };
    let is_denied = matches!(
        code.as_str(),
        "AccessDeniedException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException"
            | "ExpiredTokenException"
    ) || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if is_denied {
        let reason = format!("{reason}; requested with {}", credentials.origin);
        return RequestError::denied(reason).hint(
            "allow ecr:DescribeImages, ecr:BatchGetImage and ecr:BatchDeleteImage on the repository, \
             and ecr:PutImage for tags",
        );
    }
    RequestError::unavailable(reason)
}

/// A time in seconds, as ECR writes it.
fn time_of(seconds: f64) -> Option<SystemTime> {
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    UNIX_EPOCH.checked_add(duration)
}

impl std::fmt::Display for EcrRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Location {
            account, region, ..
        } = &self.location;
        write!(f, "{} in ECR {account} ({region})", self.name)
    }
}
