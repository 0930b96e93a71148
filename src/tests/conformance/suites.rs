//! The cases of each suite, from its own files, with the results of repin's readers.

use std::{fs, path::Path};

use regex::Regex;

use super::{Case, Suite};
use crate::{
    config::yaml::{self, Node, Value},
    oci::{
        Descriptor, Digest, Manifest, RawManifest, Reference, ReferenceError, Repository, Tag,
        TagOrDigest, document,
    },
};

/// The result that a suite expects of a case.
#[derive(Debug)]
enum Expected {
    Refused,
    Accepted,
    /// Accepted, with this result.
    Read(String),
}

fn case(name: String, expected: &Expected, found: &Result<String, String>) -> Case {
    let agrees = match (expected, found) {
        (Expected::Refused, Err(_)) | (Expected::Accepted, Ok(_)) => true,
        (Expected::Read(expected), Ok(found)) => expected == found,
        _ => false,
    };
    Case {
        name,
        refusal: found.as_ref().err().cloned(),
        difference: (!agrees).then(|| format!("expected {expected:?}, found {found:?}")),
    }
}

/// The suite that a directory holds.
pub(super) fn of(directory: &Path) -> Option<Suite> {
    let is = |file: &str| directory.join(file).is_file();
    let suite = |name, cases| Some(Suite { name, cases });
    if is("reference_test.go") {
        return suite("reference", references(directory));
    }
    if is("schema/manifest_test.go") {
        return suite("image-spec", schemas(directory));
    }
    let manifests = ["manifest", "image/manifest"].map(|below| directory.join(below));
    if let Some(manifests) = manifests
        .iter()
        .find(|directory| directory.join("fixtures").is_dir())
    {
        return suite("containers-image", fixtures(manifests));
    }
    let cases = yaml_cases(&directory.join("src"));
    (!cases.is_empty()).then_some(Suite {
        name: "yaml-test-suite",
        cases,
    })
}

fn read(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap_or_default()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// The part of a Go file from `from` to the next line that begins with a brace.
fn function<'t>(text: &'t str, from: &str) -> &'t str {
    let Some(start) = text.find(from) else {
        return "";
    };
    let rest = &text[start..];
    &rest[..rest.find("\n}").unwrap_or(rest.len())]
}

/// A string of Go: literals and repetitions, joined by `+`.
fn go_string(expression: &str) -> Option<String> {
    let part = regex(r#"^(?:"([^"\\]*)"|strings\.Repeat\("([^"\\]*)", (\d+)\))$"#);
    let text = |expression: &str| {
        let parts = part.captures(expression.trim())?;
        Some(match (parts.get(1), parts.get(2)) {
            (Some(text), _) => text.as_str().to_owned(),
            (None, text) => text?.as_str().repeat(parts[3].parse().ok()?),
        })
    };
    expression.split(" + ").map(text).collect()
}

/// A name with or without tag and digest.
fn reference(text: &str) -> Result<String, String> {
    let shown = |name: &Repository, tag: Option<&Tag>, digest: Option<&Digest>| {
        let tag = tag.map(ToString::to_string).unwrap_or_default();
        let digest = digest.map(ToString::to_string).unwrap_or_default();
        format!("{name} {tag} {digest}")
    };
    match Reference::parse(text) {
        Ok(found) => Ok(shown(
            &found.repository,
            found.tag.as_ref(),
            found.digest.as_ref(),
        )),
        Err(ReferenceError::Neither(_)) => {
            let name = Repository::parse(text).map_err(|error| error.to_string())?;
            Ok(shown(&name, None, None))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn references(directory: &Path) -> Vec<Case> {
    let text = read(directory, "reference_test.go");
    let field = regex(r"^(\w+):\s+(.+?),(?:\s*//.*)?$");
    let mut cases = Vec::new();
    let mut fields = Vec::new();
    for line in function(&text, "func TestReferenceParse(")
        .lines()
        .map(str::trim)
    {
        match line {
            "{" => fields.clear(),
            "}," => {
                let get = |name: &str| {
                    let found = fields
                        .iter()
                        .find(|(key, _): &&(String, String)| key == name);
                    found.map(|(_, value)| value.as_str())
                };
                let text = |name: &str| get(name).map_or(Some(String::new()), go_string);
                let read = || {
                    Some(format!(
                        "{} {} {}",
                        text("repository")?,
                        text("tag")?,
                        text("digest")?
                    ))
                };
                let (Some(input), Some(expected)) = (text("input"), read()) else {
                    continue;
                };
                let refused = get("err").is_some();
                let name = format!("parse/{}", cases.len() + 1);
                let expected = if refused {
                    Expected::Refused
                } else {
                    Expected::Read(expected)
                };
                cases.push(case(name, &expected, &reference(&input)));
            }
            _ => fields.extend(
                field
                    .captures(line)
                    .map(|parts| (parts[1].to_owned(), parts[2].to_owned())),
            ),
        }
    }
    let text = read(directory, "normalize_test.go");
    let literal = regex(r#"(?m)^\s*"([^"\\]*)","#);
    for (list, name) in [
        ("\tvalidRepoNames := ", "valid"),
        ("\tinvalidRepoNames := ", "invalid"),
    ] {
        let Some(start) = text.find(list) else {
            continue;
        };
        let rest = &text[start..];
        let list = &rest[..rest.find("\n\t}").unwrap_or(rest.len())];
        for (at, parts) in literal.captures_iter(list).enumerate() {
            let expected = if name == "valid" {
                Expected::Accepted
            } else {
                Expected::Refused
            };
            let name = format!("{name}/{}", at + 1);
            cases.push(case(name, &expected, &reference(&parts[1])));
        }
    }
    cases
}

/// A manifest or index that came as `media_type`, and its own type.
fn manifest(bytes: &[u8], media_type: Option<&str>) -> Result<(String, Manifest), String> {
    let raw = RawManifest {
        bytes: bytes.to_vec(),
        media_type: media_type.map(str::to_owned),
        claimed: None,
    };
    let want = TagOrDigest::Digest(Digest::of(bytes));
    let found = document::manifest(&raw, &want, None, "it").map_err(|error| error.message)?;
    Ok((found.media_type, found.value))
}

fn schemas(directory: &Path) -> Vec<Case> {
    let raw = regex(r"\b(manifest|imageIndex|config|descriptor):\s*`([^`]*)`");
    let fails = regex(r"fail:\s+true");
    let files = [
        "descriptor",
        "config",
        "manifest",
        "imageindex",
        "backwards_compatibility",
    ];
    let mut cases = Vec::new();
    for file in files {
        let text = read(&directory.join("schema"), &format!("{file}_test.go"));
        let found: Vec<_> = raw.captures_iter(&text).collect();
        for (at, parts) in found.iter().enumerate() {
            let end = found
                .get(at + 1)
                .map_or(text.len(), |next| next.get(0).unwrap().start());
            let following = &text[parts.get(0).unwrap().end()..end];
            let refused = fails.is_match(following);
            let bytes = parts[2].as_bytes();
            let expected = if refused {
                Expected::Refused
            } else {
                Expected::Accepted
            };
            let name = format!("{file}/{}", at + 1);
            cases.push(case(name, &expected, &schema(&parts[1], bytes)));
        }
    }
    cases
}

fn schema(kind: &str, bytes: &[u8]) -> Result<String, String> {
    match (kind, kind == "imageIndex") {
        ("descriptor", _) => serde_json::from_slice::<Descriptor>(bytes)
            .map(|found| found.digest.to_string())
            .map_err(|error| error.to_string()),
        ("config", _) => {
            let (digest, size) = (Digest::of(bytes), bytes.len());
            let descriptor = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":{size}}}"#);
            let descriptor: Descriptor = serde_json::from_str(&descriptor).unwrap();
            let found =
                document::config(bytes, &descriptor, "it").map_err(|error| error.message)?;
            Ok(found.value.platform.to_string())
        }
        (_, index) => match manifest(bytes, None)? {
            (found, Manifest::Index(_)) if index => Ok(found),
            (found, Manifest::Image(_)) if !index => Ok(found),
            (found, _) => Err(format!("read as {found}")),
        },
    }
}

fn fixtures(directory: &Path) -> Vec<Case> {
    const V2S2: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let fixture = |name: &str| fs::read(directory.join("fixtures").join(name)).unwrap_or_default();
    let mut cases = Vec::new();
    let text = read(directory, "manifest_test.go");
    let row = regex(r#"\{"([^"]+)",\s*([\w."]+)\}"#);
    for parts in row.captures_iter(function(&text, "func TestGuessMIMEType(")) {
        let expected = match &parts[2] {
            "DockerV2Schema2MediaType" => Expected::Read(V2S2.to_owned()),
            "DockerV2ListMediaType" => Expected::Read(LIST.to_owned()),
            "imgspecv1.MediaTypeImageManifest" => Expected::Read(MANIFEST.to_owned()),
            "imgspecv1.MediaTypeImageIndex" => Expected::Read(INDEX.to_owned()),
            // Docker's first schema, and documents that are not manifests.
            _ => Expected::Refused,
        };
        let found = manifest(&fixture(&parts[1]), None).map(|(found, _)| found);
        cases.push(case(format!("type/{}", &parts[1]), &expected, &found));
    }
    let literal = regex(r#""([^"]+)""#);
    for (file, test, name, media_type) in [
        (
            "oci_test.go",
            "func TestOCI1FromManifest(",
            "manifest",
            MANIFEST,
        ),
        (
            "oci_index_test.go",
            "func TestOCI1IndexFromManifest(",
            "index",
            INDEX,
        ),
        (
            "docker_schema2_test.go",
            "func TestSchema2FromManifest(",
            "schema2",
            V2S2,
        ),
        (
            "docker_schema2_list_test.go",
            "func TestSchema2ListFromManifest(",
            "list",
            LIST,
        ),
    ] {
        let text = read(directory, file);
        let lines = function(&text, test).lines();
        let body: String = lines
            .filter(|line| !line.trim().starts_with("//"))
            .collect();
        let list = |call: &str| {
            let (_, rest) = body.split_once(call).unwrap_or_default();
            let (_, rest) = rest.split_once("[]string{").unwrap_or_default();
            let list = rest.split('}').next().unwrap_or_default();
            literal
                .captures_iter(list)
                .map(|parts| parts[1].to_owned())
                .collect::<Vec<_>>()
        };
        let refused = |name: String, bytes: &[u8]| {
            let found = manifest(bytes, Some(media_type)).map(|(found, _)| found);
            case(name, &Expected::Refused, &found)
        };
        for other in list("testManifestFixturesAreRejected(") {
            cases.push(refused(format!("{name}/{other}"), &fixture(&other)));
        }
        let valid = regex(r#""fixtures", "([^"]+)""#)
            .captures(&body)
            .map(|parts| fixture(&parts[1]));
        let valid = String::from_utf8(valid.unwrap_or_default()).unwrap();
        let open = valid.trim_end().strip_suffix('}').unwrap_or_default();
        for field in list("testValidManifestWithExtraFieldsIsRejected(") {
            let bytes = format!("{open},\"{field}\":[]}}");
            cases.push(refused(format!("{name}+{field}"), bytes.as_bytes()));
        }
    }
    cases
}

fn yaml_cases(directory: &Path) -> Vec<Case> {
    let is = regex(r"^[0-9A-Z]{4}\.yaml$");
    let Ok(files) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| is.is_match(name)).collect();
    names.sort();
    let mut cases = Vec::new();
    for file in names {
        let (root, faults) = yaml::parse(&read(directory, &file));
        assert!(faults.is_empty(), "{file}: {faults:?}");
        let Some(Node {
            value: Value::List(items),
            ..
        }) = root
        else {
            panic!("{file} is no list of cases");
        };
        for (at, item) in items.iter().enumerate() {
            let text = |key: &str| match &item.pointer(key)?.value {
                Value::Scalar { text, .. } => Some(text.as_str()),
                _ => None,
            };
            let json =
                text("/json").and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
            let expected = match (text("/fail"), json) {
                (Some("true"), _) => Expected::Refused,
                (_, Some(json)) => Expected::Read(json.to_string()),
                _ => Expected::Accepted,
            };
            let name = format!("{}/{}", &file[..4], at + 1);
            let found = document_of(&visible(text("/yaml").unwrap()));
            cases.push(case(name, &expected, &found));
        }
    }
    cases
}

/// The text of a case of yaml-test-suite, which replaces invisible characters by visible ones.
pub(crate) fn visible(text: &str) -> String {
    let tab = regex("—*»");
    let text = tab
        .replace_all(text, "\t")
        .replace('␣', " ")
        .replace('↵', "");
    text.replace('⇔', "\u{feff}")
        .replace('←', "\r")
        .replace("∎\n", "")
        .replace('∎', "")
}

fn document_of(text: &str) -> Result<String, String> {
    let (root, faults) = yaml::parse(text);
    if faults.is_empty() {
        return Ok(root
            .map_or(serde_json::Value::Null, |root| json(&root))
            .to_string());
    }
    let messages: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
    Err(messages.join("; "))
}

/// A tree as JSON, plain scalars by YAML's core schema.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, node)| (key.text.clone(), json(node)));
            serde_json::Value::Object(entries.collect())
        }
        Value::Scalar { text, plain: false } => text.as_str().into(),
        Value::Scalar { text, .. } => plain(text),
    }
}

fn plain(text: &str) -> serde_json::Value {
    let number = regex(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$");
    match text {
        "" | "~" | "null" | "Null" | "NULL" => serde_json::Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => {
            let hex = text
                .strip_prefix("0x")
                .and_then(|digits| i64::from_str_radix(digits, 16).ok());
            let octal = text
                .strip_prefix("0o")
                .and_then(|digits| i64::from_str_radix(digits, 8).ok());
            match (
                hex.or(octal).or_else(|| text.parse().ok()),
                number.is_match(text),
            ) {
                (Some(whole), _) => whole.into(),
                (None, true) => text.parse::<f64>().unwrap().into(),
                (None, false) => text.into(),
            }
        }
    }
}
