//! The document of `builds`.

use serde::Serialize;

use crate::{
    config::{Config, SetPath},
    core::builds::{self, ReadBuild, State},
    oci::{Tag, date},
};

/// `repin.builds/1`.
#[derive(Debug, Serialize)]
pub(crate) struct BuildsDocument {
    pub schema: &'static str,
    pub set_path: SetPath,
    pub builds: Vec<BuildRow>,
    pub left_out: usize,
}

/// One build.
#[derive(Debug, Serialize)]
pub(crate) struct BuildRow {
    pub revision: String,
    pub created: Option<String>,
    pub images: Vec<BuildImageRow>,
    pub state: &'static str,
    pub detail: String,
}

/// One image of a build.
#[derive(Debug, Serialize)]
pub(crate) struct BuildImageRow {
    pub name: String,
    pub tag: String,
    pub digest: Option<String>,
}

impl BuildRow {
    pub(crate) fn new(build: &ReadBuild, state: State, detail: String, config: &Config) -> Self {
        let mut images = Vec::new();
        for (image, read) in config.images.iter().zip(&build.images) {
            let tag = read.tag().map(Tag::to_string);
            images.push(BuildImageRow {
                name: image.name.clone(),
                tag: tag.unwrap_or_else(|| builds::expected_tag(config, &build.text)),
                digest: read.read().map(|image| image.digest.to_string()),
            });
        }
        Self {
            revision: build.text.clone(),
            created: build.created().map(date::format),
            images,
            state: state.as_str(),
            detail,
        }
    }
}
