//! Tests of bodies: content, hostile values, and the limit.

use std::collections::BTreeMap;

use super::*;
use crate::{
    app::report::json::{FileRow, ImageRow},
    base::error::Code,
    config::{self, Operation, SetPath},
    core::{
        changes::{Changes, CommitList, ListedCommit, NotRead, SetState, SourceChanges},
        checks::Check,
    },
    oci::{Digest, Repository},
};

/// Renders a custom template in this process.
fn rendered(
    document: &PlanDocument,
    context: &TemplateContext,
    template: Option<&str>,
) -> Result<String, TemplateError> {
    render(document, context, template, &TemplateJob::render)
}

fn document() -> PlanDocument {
    let digest = |c: &str| Digest::from_hex(&c.repeat(64)).unwrap();
    let image = |name: &str, labels: BTreeMap<String, Option<String>>| ImageRow {
        verified: Vec::new(),
        name: name.into(),
        repository: Repository::parse(&format!("ghcr.io/acme/{name}")).unwrap(),
        from: vec![digest("a")],
        to: Some(digest("b")),
        pins: 2,
        places: Vec::new(),
        platforms: vec!["linux/amd64".into(), "linux/arm64".into()],
        labels,
    };
    let hostile = BTreeMap::from([
        ("version".into(), Some("`x` @team #1 <img> | a\nb".into())),
        ("absent".into(), None),
    ]);
    PlanDocument {
        changes: None,
        schema: "repin.plan/1",
        kind: Operation::Promotion,
        set_path: SetPath::top(),
        revision: "r1-->".into(),
        approved: true,
        applied: false,
        changed: true,
        images: vec![image("review", hostile), image("fix", BTreeMap::new())],
        files: vec![FileRow {
            path: "a.yml".into(),
            pins: 1,
            old_sha256: "0".into(),
            new_sha256: "1".into(),
        }],
        checks: vec![
            Check::new(Code::PIN_COUNT, Status::Pass, "pinned twice @here").image("review"),
        ],
        branch: "auto/x".into(),
        title: "promote: @everyone r1".into(),
        trailers: vec!["Repin-Set: r1-->".into()],
        body: None,
        diff: None,
        pull_request: None,
        wait: None,
        error: None,
    }
}

#[test]
fn body_shows_images_checks_and_rollback() {
    insta::assert_snapshot!(rendered(&document(), &TemplateContext::default(), None).unwrap());
}

#[test]
fn custom_template_gets_the_document_escaped() {
    let text = "{{ kind }} {{ images[0].labels.version }} {{ images[0].labels.version|code }} {{ title|safe }}";
    let body = rendered(&document(), &TemplateContext::default(), Some(text)).unwrap();
    let line = body.lines().next().unwrap();
    assert!(
        line.starts_with("promote \\`x\\` @\u{200b}team #\u{200b}1 \\<img\\> \\| a"),
        "{line}"
    );
    assert!(line.ends_with("promote: @everyone r1"), "{line}");
    assert!(
        body.contains("<!-- repin/2 kind=promote set=repin.yaml revision=r1%2d;%2d;%3e; -->"),
        "{body}"
    );
}

#[test]
fn broken_template_is_reported_with_its_line() {
    let error = rendered(
        &document(),
        &TemplateContext::default(),
        Some("a\n{{ nowhere }}"),
    )
    .unwrap_err();
    assert_eq!(error.line, Some(2), "{error}");
    assert!(rendered(&document(), &TemplateContext::default(), Some("{% if %}")).is_err());
}

#[test]
fn truncated_body_keeps_its_marker() {
    let mut long = document();
    let row = FileRow {
        path: "f".repeat(200),
        pins: 1,
        old_sha256: String::new(),
        new_sha256: String::new(),
    };
    long.files = vec![row; 500];
    let body = rendered(&long, &TemplateContext::default(), None).unwrap();
    assert!(
        body.chars().count() <= MAX
            && body.contains("files after the twentieth")
            && body.contains("pinned twice")
    );
    long.checks = vec![Check::new(Code::PIN_COUNT, Status::Fail, "ä".repeat(5_000)); 500];
    let body = rendered(&long, &TemplateContext::default(), None).unwrap();
    assert!(
        body.chars().count() <= MAX && body.contains("long evidence"),
        "{}",
        body.chars().count()
    );
    assert!(body.trim_end().ends_with("-->"));
    let body = rendered(
        &long,
        &TemplateContext::default(),
        Some(&"x".repeat(70_000)),
    )
    .unwrap();
    assert!(
        body.chars().count() <= MAX
            && body.contains("the end of this text")
            && body.trim_end().ends_with("-->")
    );
}

#[test]
fn custom_template_has_limits() {
    let error = |text: &str| {
        let error = rendered(&document(), &TemplateContext::default(), Some(text)).unwrap_err();
        (error.message, error.line)
    };
    let steps = "a\n{% for i in range(2000) %}{% for j in range(2000) %}{% endfor %}{% endfor %}";
    assert_eq!(
        error(steps),
        (
            "the template needs more than 1000000 steps".to_owned(),
            Some(2)
        )
    );
    let output = format!(
        "{{% for i in range(5000) %}}{}{{% endfor %}}",
        "x".repeat(1000)
    );
    assert_eq!(error(&output).0, "the output exceeds 4 MiB");
    let recursion = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    assert!(!error(recursion).0.is_empty());
    let fine = "{% for i in range(3000) %}0123456789{% endfor %}";
    assert!(rendered(&document(), &TemplateContext::default(), Some(fine)).is_ok());
    // The built-in template renders any document.
    let mut large = document();
    large.files = vec![large.files[0].clone(); 50_000];
    assert!(rendered(&large, &TemplateContext::default(), None).is_ok());
}

#[test]
fn differences_are_shortened_before_labels() {
    let commit = |index: usize| ListedCommit {
        commit: "b".repeat(40),
        subject: format!("{index} {}", "[x](y)".repeat(20)),
        author: "[Ada](x)".repeat(15),
        pull_request: None,
    };
    let not_read = (0..900).map(|_| NotRead::image("app", "<&>".repeat(20)));
    let mut document = document();
    document.changes = Some(Changes {
        from: SetState::default(),
        to: SetState::default(),
        source: SourceChanges {
            added: Some(CommitList {
                count: 20,
                authors: None,
                commits: (0..20).map(commit).collect(),
            }),
            ..SourceChanges::default()
        },
        images: Vec::new(),
        not_read: not_read.collect(),
    });
    let body = rendered(&document, &TemplateContext::default(), None).unwrap();
    assert!(body.chars().count() <= MAX);
    assert!(
        body.contains("length of this text: commits, differences of the images."),
        "{body}"
    );
    assert!(body.contains("### What changes"), "{body}");
}

#[test]
fn notice_lists_only_parts_that_existed() {
    let mut document = document();
    let mut not_read = vec![NotRead::commits("this clone is shallow")];
    not_read.resize(900, NotRead::image("app", "<&>".repeat(20)));
    document.changes = Some(Changes {
        from: SetState::default(),
        to: SetState::default(),
        source: SourceChanges {
            added: Some(CommitList::NONE),
            ..SourceChanges::default()
        },
        images: Vec::new(),
        not_read,
    });
    for image in &mut document.images {
        image.labels.clear();
    }
    let body = rendered(&document, &TemplateContext::default(), None).unwrap();
    assert!(
        body.contains("length of this text: differences of the images."),
        "{body}"
    );
    assert!(
        body.contains("- commits not read: this clone is shallow\n"),
        "{body}"
    );
    let text = "x".repeat(MAX);
    let body = rendered(&document, &TemplateContext::default(), Some(&text)).unwrap();
    assert!(
        body.contains(
            "length of this text: differences of the images, checks that passed, the end of this text."
        ),
        "{body}"
    );
}

#[test]
fn checks_without_configuration_are_listed() {
    let images = "version: 1\nfiles: ['*.yml']\nimages: { fix: { repository: ghcr.io/acme/fix, pins: 1 } }\n";
    let smoke = "smoke: { command: ['true'] }\n";
    let inventory = "inventory: { root: /usr, kinds: { libraries: { paths: ['^lib/(.+)$'] } } }\n";
    let listed = |text: &str| {
        let config = config::example(text);
        let body = rendered(&document(), &TemplateContext::of(&config), None).unwrap();
        let line = body.lines().find(|line| line.contains("not checked"));
        line.map(str::to_owned)
    };
    assert_eq!(
        listed(&format!("{images}{smoke}{inventory}")).unwrap(),
        "Not configured, and therefore not checked: signatures (`verify`)."
    );
    assert_eq!(
        listed(images).unwrap(),
        "Not configured, and therefore not checked: signatures (`verify`), contents (`inventory`), a run of the images (`smoke`)."
    );
}

#[test]
fn label_that_the_current_image_lacks_is_none() {
    let of = |image: &str| {
        let labels = BTreeMap::from([("version".to_owned(), Some("old".to_owned()))]);
        let context = TemplateContext {
            current_labels: BTreeMap::from([(image.to_owned(), labels)]),
            ..TemplateContext::default()
        };
        rendered(&document(), &context, None).unwrap()
    };
    let text = of("review");
    assert!(
        text.contains("| review | `absent` | none | (absent) |"),
        "{text}"
    );
    // The labels of this image were not read.
    let text = of("fix");
    assert!(
        text.contains("| review | `absent` | (unknown) | (absent) |"),
        "{text}"
    );
}

#[test]
fn rollback_of_the_project_is_next_to_the_command() {
    let mut context = TemplateContext {
        current_revision: Some("r0".into()),
        ..TemplateContext::default()
    };
    let body = |document: &PlanDocument, context: &TemplateContext| {
        rendered(document, context, None).unwrap()
    };
    assert!(!body(&document(), &context).contains("This project"));
    for (instruction, shown) in [
        (
            "https://ci.example/roll-back?a=<b>",
            "<https://ci.example/roll-back?a=%3Cb%3E>",
        ),
        (
            "the job `Roll back` of @ops",
            "the job \\`Roll back\\` of @\u{200b}ops",
        ),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ] {
        context.rollback_instruction = Some(instruction.to_owned());
        let text = body(&document(), &context);
        let line = format!(
            "This project rolls back with: {shown} (to `r0`). The command:\n\n`repin rollback"
        );
        assert!(text.contains(&line), "{text}");
    }
    let rollback = PlanDocument {
        kind: Operation::Rollback,
        ..document()
    };
    assert!(!body(&rollback, &context).contains("This project"));
}

#[test]
fn checklist_of_a_rollback_is_its_own() {
    let list = |kind| {
        let document = PlanDocument { kind, ..document() };
        let text = rendered(&document, &TemplateContext::default(), None).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("- [ ] "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    insta::assert_snapshot!(list(Operation::Promotion).join("\n"), @r"
    - [ ] `r1-->` is the intended build
    - [ ] each digest above is the one that the build reported
    - [ ] every warning and every skipped check is acceptable
    ");
    insta::assert_snapshot!(list(Operation::Rollback).join("\n"), @r"
    - [ ] `r1-->` is the set to return to
    - [ ] it does not predate a migration, or a fix that is still needed
    - [ ] the database and its current data are compatible with it
    - [ ] it is agreed who deploys it, and who watches the deployment
    - [ ] a second person checked this rollback
    - [ ] every warning and every skipped check is acceptable
    ");
}
