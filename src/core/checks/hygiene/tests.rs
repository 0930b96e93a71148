use super::*;
use crate::contents::{
    inventory::{gather, tests::inventory},
    layers::tests::{archive::Archive, layers},
};

fn a() -> Archive {
    Archive::new()
}

/// `code item: detail` of each finding.
fn findings(archives: &[Archive], block: &str) -> Vec<String> {
    findings_with_contract(archives, block, None)
}

fn findings_with_contract(
    archives: &[Archive],
    block: &str,
    contract: Option<&[u8]>,
) -> Vec<String> {
    let inventory = inventory(block);
    let contents = gather(&layers(archives), &inventory).unwrap();
    check(&inventory, &contents, contract)
        .into_iter()
        .map(line)
        .collect()
}

fn line(finding: Check) -> String {
    assert_eq!(finding.status, Status::Fail);
    format!(
        "{} {}: {}",
        finding.code,
        finding.item.unwrap_or_default(),
        finding.detail
    )
}

const NONE: [&str; 0] = [];

#[test]
fn clean_image_has_no_findings() {
    let block = "root: /r
user: \"1001\"
kinds:
  agents: { paths: ['^agents/([^/]+)\\.md$'], non_empty: true }
  skills: { paths: ['^skills/([^/]+)/'] }
required_files: [agents/ops.md, \"agents/**\"]
forbidden_files: [.netrc]
modes: { directories: \"0755\", files: \"0644\" }
embedded_contract: /e.yaml";
    let archives = [a()
        .directory("r")
        .file("r/agents/ops.md", "")
        .file("e.yaml", "twenty bytes of text")
        .file(".netrc", "")];
    assert_eq!(
        findings_with_contract(&archives, block, Some(b"twenty bytes of text")),
        NONE
    );
}

#[test]
fn failed_enumeration_reports_its_reason() {
    let block = "root: /r\nuser: \"7\"\nkinds: {agents: {paths: ['^agents/(.+)']}, skills: {paths: ['^s/(.+)']}}";
    assert_eq!(
        findings(&[a()], block),
        ["enumeration_failed /r: the image has no directory `/r`"]
    );
    assert_eq!(
        findings(&[a().directory("r/x")], block),
        ["enumeration_empty /r: no file under `/r`"]
    );
    assert_eq!(
        findings(&[a().file("r/x", "").file("r/y", "")], block),
        ["kinds_all_empty /r: none of 2 files under `/r` matches a pattern of agents, skills"]
    );
    assert_eq!(
        findings(
            &[a()
                .directory_of_mode("r/a", 0o700)
                .directory_of_mode("r/b", 0o744)
                .file("r/s/f", "")],
            block
        ),
        [
            "unreadable /r/a: user 7 cannot list or enter this directory, so its contents are unknown",
            "unreadable /r/b: user 7 cannot list or enter this directory, so its contents are unknown"
        ]
    );
    let named = block.replace("\"7\"", "agent");
    assert!(
        findings(&[a().file("r/s/f", "")], &named)[0]
            .starts_with("enumeration_failed /r: the user `agent` cannot be")
    );
}

#[test]
fn each_defect_is_reported() {
    let block = "root: /r
user: \"1001\"
kinds: { agents: { paths: ['^agents/([^/]+)\\.md$'] }, skills: { paths: ['^skills/([^/]+)/'], non_empty: true } }
required_files: [agents/ops.md, \"skills/git/**\", \"*.md\"]
forbidden_files: [.netrc, \"*.token\"]
modes: { directories: \"0755\", files: \"0644\" }";
    let archives = [
        a().directory_of_mode("r", 0o2755)
            .file("r/.netrc", "")
            .file("r/agents/a.md", "")
            .file("r/x.token", ""),
        a().file("r/.wh..netrc", "")
            .file_of_mode("r/agents/b.md", 0o600)
            .file_of_mode("r/y", 0o755),
        a().file("r/x.token", ""),
    ];
    assert_eq!(
        findings(&archives, block),
        [
            "kind_empty skills: the image contains no `skills`",
            "required_file_missing agents/ops.md: no file under `/r` matches this pattern",
            "required_file_missing skills/git/**: no file under `/r` matches this pattern",
            "required_file_missing *.md: no file under `/r` matches this pattern",
            "mode_unexpected .: a directory with mode 2755, expected 0755",
            "mode_unexpected agents/b.md: a file with mode 0600, expected 0644",
            "mode_unexpected y: a file with mode 0755, expected 0644",
            "unreadable agents/b.md: user 1001 cannot read this file (mode 0600)",
            "forbidden_file_present /r/.netrc: this file is forbidden; it still ships in layer 1, although a later entry hides \
             or replaces it",
            "forbidden_file_present /r/x.token: this file is forbidden; it is in layers 1, 3"
        ]
    );
}

#[test]
fn many_files_with_one_defect_are_counted() {
    let archive = (0..25).fold(a(), |archive, number| {
        archive.file_of_mode(&format!("r/{number:02}"), 0o600)
    });
    let found = findings(&[archive], "root: /r\nmodes: {files: \"0644\"}");
    assert_eq!(
        (found.len(), found.last().unwrap().as_str()),
        (21, "mode_unexpected : and 5 more")
    );
}

#[test]
fn forbidden_files_are_found_without_an_enumeration() {
    let block = "root: /r\nuser: \"7\"\nforbidden_files: [.netrc]";
    let found = findings(
        &[a().directory_of_mode("r/d", 0o700).file("r/d/.netrc", "")],
        block,
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].starts_with("forbidden_file_present /r/d/.netrc"));
}

#[test]
fn embedded_contract_must_equal_the_local_one() {
    let block = "embedded_contract: /e.yaml";
    let local = b"a: one\nb: two\nc: three\n";
    let found = |archive: Archive| {
        let inventory = inventory(block);
        let filter = crate::contents::inventory::content_filter(&inventory, &[local.len() as u64]);
        let bytes = archive.end();
        let digest = crate::oci::Digest::of(&bytes);
        let descriptor = crate::contents::layers::LayerDescriptor {
            digest,
            size: bytes.len() as u64,
            encoding: crate::contents::layers::Encoding::Plain,
            diff_id: digest,
        };
        let budget = crate::contents::layers::Budget::new(1 << 20);
        let layer =
            crate::contents::layers::read_layer(&*bytes, &descriptor, &filter, &budget).unwrap();
        let contents = gather([&layer], &inventory).unwrap();
        check(&inventory, &contents, Some(local))
            .into_iter()
            .map(line)
            .collect::<Vec<_>>()
    };
    let finding = |detail: &str| vec![format!("embedded_contract_mismatch /e.yaml: {detail}")];
    let image = || a().file("x", "");
    assert_eq!(found(image().file("e.yaml", local)), NONE);
    assert_eq!(
        found(image().file("other", local).hardlink("e.yaml", "other")),
        NONE
    );
    let differs = finding("the copy in the image differs from the contract from line 2 on");
    assert_eq!(
        found(image().file("e.yaml", "a: one\nb: twi\nc: three\n")),
        differs
    );
    assert_eq!(found(image().file("e.yaml", "a: one\n")), differs);
    let unequal = finding("the copy in the image differs from the contract");
    assert_eq!(
        found(image().file("other", "short").hardlink("e.yaml", "other")),
        unequal
    );
    assert_eq!(
        found(image()),
        finding("the image has no copy of the contract at this path")
    );
    assert_eq!(
        found(image().directory("e.yaml")),
        finding("the copy in the image is not a regular file")
    );
}

#[test]
fn duplicate_and_malformed_paths_warn() {
    let inventory = inventory("root: /r\nkinds: {agents: {paths: ['^(.+)$']}}");
    let archives = [a().file(b"r/\xff", "").file("r/f", "").file("r/f", "")];
    let contents = gather(&layers(&archives), &inventory).unwrap();
    let found = enumerate(&inventory, &contents).unwrap();
    let warnings = warnings(&contents, Some(&found));
    assert!(warnings.iter().all(|check| check.status == Status::Warn));
    let items: Vec<_> = warnings
        .iter()
        .filter_map(|finding| finding.item.as_deref())
        .collect();
    assert_eq!(items, ["r/f", "agents/�"]);
}

/// Concatenated at run time, so that no secret scanner reports this file.
fn token(parts: &[&str]) -> String {
    parts.concat()
}

#[test]
fn secret_variables_are_reported_without_their_values() {
    let secrets = [
        "GITHUB_TOKEN=hunter2hunter2",
        "CLAUDE_CODE_OAUTH_TOKEN=x",
        "PGPASSWORD=hunter2",
        "MYSQL_PWD=hunter2",
        "db.password=hunter2",
        "aws_secret_access_key=hunter2",
        "ANTHROPIC_API_KEY=hunter2",
        "SIGNING_KEY=hunter2",
        "SIGNING__KEY_=hunter2",
        "GITHUB_TOKEN_=hunter2hunter2",
        "X=https://user:hunter2@example.org/x",
        "DATABASE=postgres://:hunter2@db/x",
    ];
    let by_value = [
        token(&["A=ghp", "_", &"a1".repeat(18)]),
        token(&["A=github", "_pat_", &"a1".repeat(20)]),
        token(&["A=sk-", "ant-api03-", &"a1".repeat(20)]),
        token(&["A=AK", "IA", &"A1".repeat(8)]),
        token(&["A=-----BEGIN RSA ", "PRIVATE KEY-----"]),
        token(&["A=ey", "Jhbghciabcdef.", "eyJzdwiabcdefg.", "abcdefghijkl"]),
        token(&[
            "A=gh",
            "s_1234567_ey",
            "Jhbghciabcdef.",
            "eyJzdwiabcdefg.",
            "abcdefghijkl",
        ]),
        token(&[
            "A=x_ey",
            "Jhbghciabcdef.",
            "eyJzdwiabcdefg.",
            "abcdefghijkl",
        ]),
    ];
    for entry in secrets.map(str::to_owned).iter().chain(&by_value) {
        let found = env_secrets(std::slice::from_ref(entry));
        assert_eq!(found.len(), 1, "{entry}");
        let (name, value) = entry.split_once('=').unwrap();
        assert_eq!(
            (found[0].code, found[0].item.as_deref()),
            (Code::ENV_SECRET, Some(name))
        );
        assert!(
            value == "x" || !format!("{found:?}").contains(value),
            "{entry}"
        );
    }
}

#[test]
fn usual_environment_is_not_a_secret() {
    let usual = [
        "PATH=/usr/local/sbin:/usr/local/bin",
        "GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568",
        "PYTHON_SHA256=2b1c5d3a",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS=64000",
        "TOKENIZERS_PARALLELISM=false",
        "GITHUB_TOKEN=",
        "GITHUB_TOKEN",
        "DB_PASSWORD=$SECRET",
        "DB_PASSWORD_FILE=/run/secrets/db",
        "GOOGLE_APPLICATION_CREDENTIALS=/etc/key.json",
        "USE_TOKEN=true",
        "OLDPWD=/root",
        "PWD=/root",
        "HTTP_PROXY=http://proxy.example.org:3128",
        "REPOSITORY=git@github.com:acme/app.git",
        "PRIMARY_KEY=id",
        "IMAGE=ghcr.io/acme/app@sha256:0000",
        "NODE_VERSION=22.1.0",
        "LANG=C.UTF-8",
    ]
    .map(str::to_owned);
    assert_eq!(env_secrets(&usual), []);
}
