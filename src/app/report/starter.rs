//! The text of a first configuration, with explanatory comments.
//!
//! Unused keys are included with their defaults, but disabled: `# ` starts a remark, and `#` directly before
//! a key disables a setting. The caller determines the content.

use std::fmt::Write as _;

use reqwest::Url;

use super::json::{InitImage, InitOther};
use crate::base::{
    http::address::{host_of, is_loopback},
    text::counted,
    untrusted::{code_points, is_hidden},
};

/// The content of a first configuration.
#[derive(Debug)]
pub(crate) struct Starter<'s> {
    /// The set's name, if it is not the default.
    pub(crate) name: Option<String>,
    pub(crate) default_name: String,
    /// Globs.
    pub(crate) files: &'s [String],
    pub(crate) places: Vec<StarterPlace>,
    /// Whether digests outside the pins are refused.
    pub(crate) refuses_outside: bool,
    pub(crate) images: Vec<InitImage>,
    pub(crate) revision: StarterRevision,
    pub(crate) forge: Option<StarterForge>,
    /// The remote's default branch.
    pub(crate) base: Option<String>,
    /// Pinned repositories that are not part of the set.
    pub(crate) others: Vec<InitOther>,
    pub(crate) signer: Option<StarterSigner>,
    /// Remarks for the user to review, one line each.
    pub(crate) remarks: Vec<String>,
}

/// A place of split pins.
#[derive(Debug)]
pub(crate) struct StarterPlace {
    /// The kind, which is also the name.
    pub(crate) kind: &'static str,
    /// Globs; empty if all files are excluded.
    pub(crate) files: Vec<String>,
    /// The excluded files with the reasons, one line each.
    pub(crate) excluded: Vec<String>,
}

/// The form of revisions.
#[derive(Debug, Clone)]
pub(crate) enum StarterRevision {
    Default,
    Found(RevisionSettings),
    /// Settings that are disabled, because the images could not be read.
    Suggested(RevisionSettings),
    /// The form of the pinned tags, as a list, is unknown.
    Unknown(String),
}

/// The settings of revisions; `None` for the defaults.
#[derive(Debug, Clone)]
pub(crate) struct RevisionSettings {
    pub(crate) pattern: Option<String>,
    /// A template.
    pub(crate) tag: String,
    pub(crate) label: Option<&'static str>,
}

/// The repository on its forge.
#[derive(Debug, Clone)]
pub(crate) struct StarterForge {
    /// `github`, `gitea` or `gitlab`.
    pub(crate) kind: &'static str,
    /// The base URL of the API, if the kind does not determine it.
    pub(crate) url: Option<String>,
    /// `owner/name`.
    pub(crate) repository: String,
    /// A guessed kind is disabled.
    pub(crate) is_certain: bool,
}

/// A workflow that attested every image.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StarterSigner {
    /// The identity up to its `@`.
    pub(crate) workflow: String,
    /// The ref of the identity, if it is a branch.
    pub(crate) git_ref: Option<String>,
    pub(crate) issuer: String,
    /// The repository of the build.
    pub(crate) source: String,
    /// Whether the workflow ran on a runner of GitHub.
    pub(crate) is_hosted: bool,
    /// The trusted root that verifies the attestation.
    pub(crate) root: String,
}

/// The number of other repositories that are listed.
const LISTED: usize = 40;

pub(crate) fn text(starter: &Starter<'_>) -> String {
    let mut out = String::from(
        "# The images that repin promotes and rolls back together, and the files that pin them.\n\
         # Written by `repin init` from the pins it found; `repin check` verifies it, `repin schema` describes every key.\n\
         # `# ` begins a remark. `#` directly before a key disables a setting: remove the `#` to use it.\n",
    );
    if !starter.remarks.is_empty() {
        out.push_str("#\n# Review before committing:\n");
        for remark in &starter.remarks {
            let _ = writeln!(out, "# - {}", code_points(remark));
        }
    }
    out.push_str("\nversion: 1\n");
    name(&mut out, starter);
    files(&mut out, starter.files);
    places(&mut out, &starter.places);
    outside(&mut out, starter.refuses_outside);
    images(&mut out, starter);
    revision(&mut out, &starter.revision);
    verify(&mut out, starter.signer.as_ref());
    forge(&mut out, starter);
    sources(&mut out, starter);
    out.push_str(REPORT);
    provenance(&mut out, starter.base.as_deref());
    out.push_str(REST);
    out
}

/// The `sources` block, with the registry and owner of the first image as an example.
fn sources(out: &mut String, starter: &Starter<'_>) {
    let first = starter.images.first();
    let parts = first.and_then(|image| image.repository.as_str().rsplit_once('/'));
    let prefix = parts.map_or("docker.io", |(prefix, _)| prefix);
    // A registry on this machine uses plain HTTP.
    let secure = format!("https://{prefix}");
    let plain = Url::parse(&secure).is_ok_and(|url| is_loopback(&host_of(&url)));
    let source = if plain {
        format!("http://{prefix}")
    } else {
        secure
    };
    let _ = writeln!(
        out,
        "\n# Sources to read image bytes from instead of the registry: a mirror, or OCI image layouts in a directory\n\
         # (`oci:DIR`).\n#sources:\n  #{}: {}",
        quoted(prefix),
        quoted(&source),
    );
}

const REPORT: &str = "
# Labels of the images that pull requests show.
#report:
  #labels: []
";

fn provenance(out: &mut String, base: Option<&str>) {
    out.push_str(
        "\n# A rollback accepts only sets that were promoted on a branch: the remote's default one, unless `branch` names\n\
         # another. `content` alone accepts sets pinned by hand.\n#provenance:\n",
    );
    if let Some(base) = base {
        let _ = writeln!(out, "  #branch: {}", quoted(&format!("origin/{base}")));
    }
    out.push_str("  #require: [title, content]\n");
}

const REST: &str = "
# Branches and titles of pull requests.
#promote:
  #branch: \"repin/{set}/promote-{revision}\"
  #title: \"promote: {name} @{revision}\"
#rollback:
  #branch: \"repin/{set}/rollback-{revision}\"
  #title: \"rollback: {name} @{revision}\"

# What an image must contain: the files under `root`, listed by kind. Each pattern has one group, the name; it is matched
# against paths relative to `root`. `repin inventory init IMAGE` then prints a contract for `images.*.contract`.
#inventory:
  #root: /
  #kinds:
    #programs: { paths: ['^usr/local/bin/([^/]+)$'] }
  #required_files: []

# A command that must succeed in a container of every image.
#smoke:
  #command: [\"--version\"]
  #network: false
  #timeout: 60s

# Old versions that `repin prune` may delete: all of their tags match `tags`, and nothing pins or promoted them.
#prune:
  #tags: \"^pending-\"
  #older_than: 14d
  #limit: 50

# More: `freshness` (pinned references to other repositories).
";

fn name(out: &mut String, starter: &Starter<'_>) {
    out.push_str("\n# In titles: \"promote: NAME @REVISION\".\n");
    let _ = match &starter.name {
        Some(name) => writeln!(out, "name: {}", quoted(name)),
        None => writeln!(out, "#name: {}", quoted(&starter.default_name)),
    };
}

fn files(out: &mut String, files: &[String]) {
    out.push_str(
        "\n# The files that are scanned, relative to this one's directory. A pin in another file is neither counted nor \
         changed.\n# `!` excludes: \"!testdata/**\".\nfiles:\n",
    );
    for glob in files {
        let _ = writeln!(out, "  - {}", quoted(glob));
    }
}

fn places(out: &mut String, places: &[StarterPlace]) {
    out.push_str(
        "\n# Split pins: digests that are written apart from their repository, as in kustomize and Helm values. `pins` counts them too.\n",
    );
    let used = places.iter().any(|place| !place.files.is_empty());
    out.push_str(if used {
        "places:\n"
    } else {
        "#places:\n  #kustomize: {}\n"
    });
    for place in places {
        if !place.files.is_empty() {
            let _ = writeln!(out, "  {}:\n    files:", place.kind);
        }
        for glob in &place.files {
            let _ = writeln!(out, "      - {}", quoted(glob));
        }
        for line in &place.excluded {
            let _ = writeln!(
                out,
                "    # Left out of `{}`: {}",
                place.kind,
                code_points(line)
            );
        }
    }
    out.push_str(
        "# The comment after such a digest: keep, or tag, which replaces its word with the new tag.\n#comments: keep\n",
    );
}

fn outside(out: &mut String, refuses: bool) {
    out.push_str(
        "\n# A pin in a tracked file that is not scanned, and a pinned digest on its own: refuse, warn or ignore.\n",
    );
    out.push_str(if refuses {
        "outside: refuse\n"
    } else {
        "# The tree contains such a pin or digest: use `refuse` after its removal.\n#outside: warn\n"
    });
    out.push_str("#outside_ignore: []\n");
    out.push_str("# Files that git ignores and does not track: exclude or include.\n");
    out.push_str("#files_ignored: exclude\n");
}

fn images(out: &mut String, starter: &Starter<'_>) {
    out.push_str(
        "\n# The set. `pins` is the exact number of pins of an image: more or fewer are refused.\n\
         # An image that is built with the others but not pinned belongs here too, with `pins: 0`.\nimages:\n",
    );
    for image in &starter.images {
        let repository = quoted(image.repository.as_str());
        let _ = writeln!(
            out,
            "  {}:\n    repository: {repository}\n    pins: {}",
            quoted(&image.name),
            image.pins
        );
    }
    if starter.others.is_empty() {
        return;
    }
    out.push_str("# Also pinned, but not in `images`:\n");
    for other in starter.others.iter().take(LISTED) {
        let _ = writeln!(
            out,
            "# - {} ({}): {}",
            other.repository,
            counted(other.pins, "pin"),
            code_points(&other.reason)
        );
    }
    if starter.others.len() > LISTED {
        let _ = writeln!(out, "# - and {} more", starter.others.len() - LISTED);
    }
}

fn revision(out: &mut String, found: &StarterRevision) {
    out.push_str(
        "\n# The commit that a set was built from: its pattern, its tag, and the label that carries it.\n",
    );
    let (mark, settings) = match found {
        StarterRevision::Found(settings) => ("", Some(settings)),
        StarterRevision::Suggested(settings) => {
            out.push_str(
                "# The pinned tags suggest these settings, but the labels of the images could not be read.\n",
            );
            ("#", Some(settings))
        }
        StarterRevision::Unknown(tags) => {
            let _ = writeln!(
                out,
                "# The pinned tags have no known form: {}. Set `tag` to the form of the tags that the build \
                 pushes.",
                code_points(tags)
            );
            ("#", None)
        }
        StarterRevision::Default => ("#", None),
    };
    let pattern = settings.and_then(|settings| settings.pattern.as_deref());
    let label = settings.and_then(|settings| settings.label);
    let pattern_mark = if pattern.is_some() { mark } else { "#" };
    let label_mark = if label.is_some() { mark } else { "#" };
    let pattern = quoted(pattern.unwrap_or("[0-9a-f]{40}"));
    let tag = quoted(settings.map_or("{revision}", |settings| settings.tag.as_str()));
    let label = label.unwrap_or("org.opencontainers.image.revision");
    let _ = writeln!(
        out,
        "{mark}revision:\n  {pattern_mark}pattern: {pattern}\n  {mark}tag: {tag}\n  {label_mark}label: {label}"
    );
}

fn verify(out: &mut String, signer: Option<&StarterSigner>) {
    let Some(signer) = signer else {
        return out.push_str(
            "\n# Who must have attested every image, for exactly its revision; `repin trust show IMAGE` lists the attestations \
             of an image.\n#verify:\n  #signers:\n    \
             #- workflow: https://github.com/OWNER/REPOSITORY/.github/workflows/WORKFLOW.yml\n      #ref: refs/heads/BRANCH\n",
        );
    };
    out.push_str(
        "\n# Who must have attested every image, for exactly its revision. This workflow has attested every image of the \
         current set.\nverify:\n  signers:\n",
    );
    let runner = if signer.is_hosted {
        "github-hosted"
    } else {
        "any"
    };
    let git_ref = signer.git_ref.as_deref();
    let lines = [
        ("- workflow", Some(signer.workflow.as_str())),
        ("  ref", git_ref),
        ("  issuer", Some(signer.issuer.as_str())),
        ("  source", Some(signer.source.as_str())),
        ("  runner", Some(runner)),
    ];
    for (key, value) in lines {
        if let Some(value) = value {
            let _ = writeln!(out, "    {key}: {}", quoted(value));
        }
    }
    let _ = writeln!(out, "  trusted_roots: [{}]", quoted(&signer.root));
}

fn forge(out: &mut String, starter: &Starter<'_>) {
    let (mark, kind, url, repository) = match &starter.forge {
        Some(forge) => (
            if forge.is_certain { "" } else { "#" },
            forge.kind,
            forge.url.as_deref(),
            quoted(&forge.repository),
        ),
        None => ("#", "auto", None, "auto".to_owned()),
    };
    out.push_str("\n# Where pull requests go.");
    if mark == "#" && starter.forge.is_some() {
        out.push_str(" The kind is guessed from the remote's host.");
    }
    let _ = writeln!(out, "\n{mark}forge:\n  {mark}kind: {kind}");
    if let Some(url) = url {
        let _ = writeln!(out, "  {mark}url: {}", quoted(url));
    }
    let _ = writeln!(out, "  {mark}repository: {repository}");
    if let Some(base) = &starter.base {
        let _ = writeln!(out, "  #base: {}", quoted(base));
    }
    out.push_str("  #labels: []\n  #gates: []\n");
}

/// Formats text as a YAML scalar, quoted unless every YAML parser interprets it as a plain string.
pub(crate) fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    let word = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    if plain && !word.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ if is_hidden(c) => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    // A runner interprets `##[` anywhere in a line as a command.
    out.replace("##[", "##\\u005b") + "\""
}

#[cfg(test)]
mod tests;
