//! The images that run, from the output of other programs: one reference a line, `kubectl get … -o json`,
//! `docker ps` as a table or as JSON, and ECS `describe-tasks`.
//!
//! repin contacts no cluster. A text that is incomplete, or in which an image cannot be identified, is refused:
//! an image that is missing from it might be deleted.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::oci::{Digest, Tag};

/// An image that runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunningImage {
    /// The last component of its repository; `None` for a digest alone.
    pub(crate) name: Option<String>,
    pub(crate) tag: Option<Tag>,
    pub(crate) digest: Option<Digest>,
    /// The place of the first occurrence: a line, or the path of a key in JSON.
    pub(crate) place: String,
}

/// The keys of images in the documents of Kubernetes, crictl, Docker and ECS.
const KEYS: [&str; 6] = [
    "image",
    "imageID",
    "imageRef",
    "imageDigest",
    "Image",
    "ImageID",
];
/// The first column of `docker ps`.
const DOCKER_HEADING: &str = "CONTAINER ID";

/// The images in a text; an error is the reason that they are not known completely.
pub(crate) fn running_images(text: &[u8]) -> Result<Vec<RunningImage>, String> {
    let text = str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    let mut images = Images::default();
    if text.trim_start().starts_with(['{', '[']) {
        images.add_json(text)?;
    } else if text.trim_start().starts_with(DOCKER_HEADING) {
        images.add_table(text)?;
    } else {
        images.add_lines(text)?;
    }
    if images.found.is_empty() {
        return Err("it contains no image".to_owned());
    }
    Ok(images.found)
}

#[derive(Default)]
struct Images {
    found: Vec<RunningImage>,
    seen: BTreeSet<String>,
}

impl Images {
    fn add_lines(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("line {}", number + 1);
            if Digest::from_hex(line).is_ok() {
                return Err(format!(
                    "{place}: `{line}` may be the ID of a container; write `sha256:` before the digest of an image"
                ));
            }
            self.add(line, &place)?;
        }
        Ok(())
    }

    /// Reads the column `IMAGE` of `docker ps`, which starts at the same offset in each line.
    fn add_table(&mut self, text: &str) -> Result<(), String> {
        let mut lines = text
            .lines()
            .enumerate()
            .skip_while(|(_, line)| line.is_empty());
        let heading = lines.next().map_or("", |(_, line)| line);
        let column = heading
            .find("IMAGE")
            .ok_or("the table has no column IMAGE")?;
        for (number, line) in lines {
            if line.trim().is_empty() {
                continue;
            }
            let place = format!("line {}", number + 1);
            check_id(line.split_whitespace().next().unwrap_or_default(), &place)?;
            let cell = line.get(column..).unwrap_or_default();
            let is_aligned = line.get(..column).is_some_and(|start| start.ends_with(' '));
            match cell.split_whitespace().next() {
                Some(image) if is_aligned && !cell.starts_with(' ') => self.add(image, &place)?,
                _ => return Err(format!("{place} has no image in the column IMAGE")),
            }
        }
        Ok(())
    }

    /// Reads one document, or one a line.
    fn add_json(&mut self, text: &str) -> Result<(), String> {
        let documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        for document in documents {
            let document = document.map_err(|error| format!("malformed JSON: {error}"))?;
            check_complete(&document)?;
            self.add_value(&document, "")?;
        }
        Ok(())
    }

    fn add_value(&mut self, value: &Value, path: &str) -> Result<(), String> {
        match value {
            Value::Object(fields) => {
                if let (Some(Value::String(id)), Some(_)) = (fields.get("ID"), fields.get("Image"))
                {
                    check_id(id, if path.is_empty() { "ID" } else { path })?;
                }
                for (key, value) in fields {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    // A volume of Kubernetes that is an image has an object with its reference.
                    let reference = value["reference"].as_str().filter(|_| key == "image");
                    match value.as_str().or(reference) {
                        // A container that was not started yet has no ID.
                        Some("") => {}
                        Some(digest) if key == "imageDigest" => {
                            self.add(&named_digest(digest, fields), &path)?;
                        }
                        Some(image) if KEYS.contains(&key.as_str()) => self.add(image, &path)?,
                        _ => self.add_value(value, &path)?,
                    }
                }
            }
            Value::Array(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    self.add_value(entry, &format!("{path}[{index}]"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, text: &str, place: &str) -> Result<(), String> {
        if !self.seen.insert(text.to_owned()) {
            return Ok(());
        }
        let image = parse(text).ok_or_else(|| {
            let hint = if is_short_id(text) {
                "; docker shows an abbreviated ID for an image without a tag: use `docker ps --no-trunc`"
            } else {
                ""
            };
            format!("{place}: `{text}` is neither a reference nor a digest{hint}")
        })?;
        self.found.push(RunningImage {
            place: place.to_owned(),
            ..image
        });
        Ok(())
    }
}

/// The digest of a container of ECS with the reference beside it: without its name, it could be that of any config.
fn named_digest(digest: &str, container: &serde_json::Map<String, Value>) -> String {
    let image = container.get("image").and_then(Value::as_str);
    let named = image.filter(|image| parse(image).is_some_and(|image| image.name.is_some()));
    match named {
        Some(image) => {
            let reference = image
                .split_once('@')
                .map_or(image, |(reference, _)| reference);
            format!("{reference}@{digest}")
        }
        None => digest.to_owned(),
    }
}

/// Refuses a document that its program could not complete.
fn check_complete(document: &Value) -> Result<(), String> {
    let rest = &document["metadata"]["continue"];
    if rest.as_str().is_some_and(|rest| !rest.is_empty()) {
        return Err("the list is one page of several (metadata.continue)".to_owned());
    }
    // ECS describes at most 100 tasks, and lists the others here.
    let failures = document["failures"].as_array();
    if failures.is_some_and(|failures| !failures.is_empty()) {
        return Err("tasks could not be described (failures)".to_owned());
    }
    Ok(())
}

/// Refuses a row of `docker ps` with an abbreviated ID of its container: such rows also omit the digests of images.
fn check_id(id: &str, place: &str) -> Result<(), String> {
    if Digest::from_hex(id).is_ok() {
        return Ok(());
    }
    Err(format!(
        "{place}: `{id}` is no complete ID of a container, so the digests of images may be omitted: use `docker ps --no-trunc`"
    ))
}

/// An abbreviated image ID of Docker, which looks like the name of an image.
fn is_short_id(text: &str) -> bool {
    (12..64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Parses a reference with any transport before it, such as `docker-pullable://`, or a digest. A reference without
/// tag and digest means `latest`.
fn parse(text: &str) -> Option<RunningImage> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let digest_alone = text.parse().ok().or_else(|| Digest::from_hex(text).ok());
    if let Some(digest) = digest_alone {
        return Some(RunningImage {
            name: None,
            tag: None,
            digest: Some(digest),
            place: String::new(),
        });
    }
    if is_short_id(text) {
        return None;
    }
    let (reference, digest) = match text.split_once('@') {
        Some((reference, digest)) => (reference, Some(digest.parse().ok()?)),
        None => (text, None),
    };
    let last = reference.rsplit('/').next()?;
    let (name, tag) = match last.split_once(':') {
        Some((name, tag)) => (name, Some(Tag::parse(tag).ok()?)),
        None => (last, None),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let is_path = |b: u8| is_name(b) || b"/:[]".contains(&b);
    if name.is_empty() || !name.bytes().all(is_name) || !reference.bytes().all(is_path) {
        return None;
    }
    let tag = match (tag, digest) {
        (None, None) => Tag::parse("latest").ok(),
        (tag, _) => tag,
    };
    Some(RunningImage {
        name: Some(name.to_owned()),
        tag,
        digest,
        place: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// The complete ID of a container.
    static ID: LazyLock<String> = LazyLock::new(|| "4b".repeat(32));

    fn digest(seed: &str) -> String {
        Digest::of(seed.as_bytes()).to_string()
    }

    /// `NAME:TAG@SEED` of each image, with its place.
    fn images(text: &str) -> Result<Vec<String>, String> {
        let describe = |image: RunningImage| {
            let name = image.name.unwrap_or_default();
            let tag = image.tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            let seed = ["a", "b"]
                .into_iter()
                .find(|seed| image.digest == digest(seed).parse().ok());
            let seed = seed.map(|seed| format!("@{seed}")).unwrap_or_default();
            format!("{name}{tag}{seed} {}", image.place)
        };
        Ok(running_images(text.as_bytes())?
            .into_iter()
            .map(describe)
            .collect())
    }

    #[test]
    fn references_of_each_form_are_parsed() {
        let (a, b) = (digest("a"), digest("b"));
        for (text, expected) in [
            ("app".to_owned(), "app:latest line 1"),
            ("localhost:5000/team/app:v1".to_owned(), "app:v1 line 1"),
            (format!("r.example/app@{a}"), "app@a line 1"),
            (format!("r.example:5000/x/app:v1@{b}"), "app:v1@b line 1"),
            (
                format!("docker-pullable://r.example/app@{a}"),
                "app@a line 1",
            ),
            (format!("docker://{a}"), "@a line 1"),
            (a.clone(), "@a line 1"),
            (
                "# comment\n\n app:v1 \r\napp:v1\n".to_owned(),
                "app:v1 line 3",
            ),
        ] {
            assert_eq!(images(&text), Ok(vec![expected.to_owned()]), "{text}");
        }
    }

    #[test]
    fn unidentified_image_is_refused() {
        let id = ID.as_str();
        let without_image = &*format!("CONTAINER ID   IMAGE   COMMAND\n{id}\n");
        for (text, reason) in [
            ("", "no image"),
            ("\n# none\n", "no image"),
            ("app:v1\napp v2", "line 2: `app v2`"),
            ("4bcff63911fc", "--no-trunc"),
            (id, "line 1: `4b4b"),
            ("app@sha256:12", "neither"),
            ("app:", "neither"),
            ("app/", "neither"),
            ("\u{e4}pp", "neither"),
            ("{", "malformed JSON"),
            ("{}", "no image"),
            (r#"{"kind":"List","items":[]}"#, "no image"),
            (
                r#"{"items":[{"image":"app"}],"metadata":{"continue":"x"}}"#,
                "one page",
            ),
            (
                r#"{"tasks":[{"image":"app"}],"failures":[{"reason":"MISSING"}]}"#,
                "failures",
            ),
            ("CONTAINER ID   NAMES\n4bcff63911fc   app\n", "no column"),
            (without_image, "line 2 has no image"),
            (
                "CONTAINER ID   IMAGE    COMMAND\n4bcff63911fc   app:v1   \"sh\"\n",
                "line 2: `4bcff63911fc` is no complete ID",
            ),
            (
                r#"{"ID":"4bcff63911fc","Image":"app:v1"}"#,
                "use `docker ps --no-trunc`",
            ),
            ("CONTAINER ID   IMAGE   COMMAND\n", "no image"),
        ] {
            let error = images(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(running_images(b"\xff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn documents_of_other_programs_are_read() {
        let (a, b) = (digest("a"), digest("b"));
        let pods = serde_json::json!({"kind": "List", "metadata": {"continue": ""}, "items": [{
            "kind": "Pod",
            "spec": {"initContainers": [{"image": "r.example/init:1"}], "containers": [{"image": "r.example/app:v1"}]},
            "status": {"containerStatuses": [
                {"image": "r.example/app:v1", "imageID": format!("r.example/app@{a}")},
                {"image": "r.example/app:v1", "imageID": ""},
            ]},
        }]});
        let mut found = images(&pods.to_string()).unwrap();
        found.sort();
        assert_eq!(
            found,
            [
                "app:v1 items[0].spec.containers[0].image",
                "app@a items[0].status.containerStatuses[0].imageID",
                "init:1 items[0].spec.initContainers[0].image",
            ]
        );
        let tasks = serde_json::json!({"failures": [], "tasks": [{"containers": [
            {"image": "1.dkr.ecr.eu-west-1.amazonaws.com/app:v2", "imageDigest": b},
            {"image": format!("job:v3@{a}"), "imageDigest": b},
            {"image": "", "imageDigest": a},
        ]}]});
        assert_eq!(
            images(&tasks.to_string()).unwrap(),
            [
                "app:v2 tasks[0].containers[0].image",
                "app:v2@b tasks[0].containers[0].imageDigest",
                "job:v3@a tasks[0].containers[1].image",
                "job:v3@b tasks[0].containers[1].imageDigest",
                "@a tasks[0].containers[2].imageDigest",
            ]
        );
        let (id, heading) = (&*ID, format!("{:64}", "CONTAINER ID"));
        let table = format!(
            "{heading}   IMAGE                COMMAND   NAMES\n{id}   r.example/app:v3     \"sh\"      one\n"
        );
        assert_eq!(images(&table).unwrap(), ["app:v3 line 2"]);
        let row = |image: &str| format!("{{\"ID\":\"{id}\",\"Image\":\"{image}\"}}\n");
        let lines = row("app:v4") + &row("app:v5");
        assert_eq!(images(&lines).unwrap(), ["app:v4 Image", "app:v5 Image"]);
        let pod = serde_json::json!({"kind": "Pod", "spec": {"volumes": [
            {"name": "model", "image": {"reference": "r.example/model:v1", "pullPolicy": "IfNotPresent"}},
        ]}});
        assert_eq!(
            images(&pod.to_string()).unwrap(),
            ["model:v1 spec.volumes[0].image"]
        );
    }
}
