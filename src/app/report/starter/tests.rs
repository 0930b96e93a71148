//! Checks that the text parses with any names, and with every setting enabled.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    base::error::SourceText,
    config::{self, Config},
    oci::Repository,
};

fn parse(text: &str) -> Config {
    let source = SourceText {
        name: "repin.yaml".into(),
        text: text.into(),
    };
    let parsed = config::parse(&source, Path::new("/root"), &crate::config::SetPath::top());
    parsed.unwrap_or_else(|problems| panic!("{}\n{text}", problems[0]))
}

/// The text with every setting enabled.
fn enabled(text: &str) -> String {
    let line = |line: &str| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let setting = rest
            .strip_prefix('#')
            .filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        setting.map_or_else(|| line.to_owned(), |setting| format!("{indent}{setting}"))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn starter(files: &[String], repository: Repository) -> Starter<'_> {
    Starter {
        name: None,
        default_name: "images".to_owned(),
        files,
        places: Vec::new(),
        refuses_outside: false,
        images: vec![InitImage {
            name: "app".to_owned(),
            repository,
            pins: 2,
        }],
        revision: StarterRevision::Default,
        forge: None,
        base: None,
        others: Vec::new(),
        signer: None,
        remarks: Vec::new(),
    }
}

#[test]
fn complete_text() {
    let [app, other] =
        ["ghcr.io/acme/app", "localhost:5000/x"].map(|text| Repository::parse(text).unwrap());
    let files = [".github/workflows/*.yml".to_owned()];
    let mut starter = starter(&files, app);
    starter.name = Some("runtime images".into());
    starter.refuses_outside = true;
    starter.revision = StarterRevision::Found(RevisionSettings {
        pattern: None,
        tag: "sha-{revision:7}".into(),
        label: None,
    });
    let (kind, url) = ("github", None);
    starter.forge = Some(StarterForge {
        kind,
        url,
        repository: "acme/workflows".into(),
        is_certain: true,
    });
    starter.base = Some("trunk".into());
    starter.others = vec![InitOther {
        repository: other,
        pins: 1,
        reason: "another owner's".into(),
    }];
    starter.remarks = vec!["a\nb".into()];
    let text = text(&starter);
    insta::assert_snapshot!(text);
    let config = parse(&text);
    assert_eq!(
        (config.name.as_str(), config.images[0].pins),
        ("runtime images", 2)
    );
    let forge = parse(&enabled(&text)).forge.unwrap();
    assert_eq!(
        (forge.base.as_deref(), forge.repository.as_deref()),
        (Some("trunk"), Some("acme/workflows"))
    );
}

#[test]
fn commented_settings_are_valid_defaults() {
    let app = Repository::parse("ghcr.io/acme/app").unwrap();
    let files = ["a".to_owned()];
    let mut starter = starter(&files, app);
    let (plain, all) = (parse(&text(&starter)), parse(&enabled(&text(&starter))));
    assert!(plain.forge.is_none() && all.forge.is_some() && all.sources.len() == 1);
    assert_eq!(plain.name, all.name);
    assert_eq!(plain.revision.tag.as_str(), all.revision.tag.as_str());
    assert_eq!(plain.promote.branch.as_str(), all.promote.branch.as_str());
    assert_eq!(plain.rollback.title.as_str(), all.rollback.title.as_str());
    let url = Some("https://git.example/api/v1".to_owned());
    starter.forge = Some(StarterForge {
        kind: "gitea",
        url,
        repository: "a/b".into(),
        is_certain: false,
    });
    assert!(parse(&text(&starter)).forge.is_none());
    assert!(
        parse(&enabled(&text(&starter)))
            .forge
            .unwrap()
            .url
            .is_some()
    );
}

proptest! {
    #[test]
    fn any_name_is_preserved(name in "\\PC{1,20}|[\\x00-\\x20\"'#:{}\\[\\]\\\\,&*!|>%@`~a\u{85}\u{2028}\u{feff}]{1,12}", path in "[^!/\\x00.*?{}\\[\\]\\\\]{1,12}", remark in any::<String>()) {
        let app = Repository::parse("1.2:3/0").unwrap();
        let files = [path.clone()];
        let mut starter = starter(&files, app);
        starter.name = Some(name.replace(char::is_control, "?"));
        starter.remarks = vec![remark];
        let config = parse(&text(&starter));
        prop_assert_eq!(&config.name, starter.name.as_ref().unwrap());
        prop_assert_eq!(config.files.included()[0].as_str(), path);
        prop_assert_eq!(config.images[0].repository.as_str(), "1.2:3/0");
    }
}
