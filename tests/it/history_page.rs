//! `repin history --html`: the sets as one self-contained page. The rendering in a browser
//! is checked by `scripts/browser`.

use std::{
    collections::BTreeSet, fmt::Write as _, fs, os::unix::fs::symlink, path::Path, process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use regex::Regex;
use sha2::{Digest, Sha256};

use crate::support::{
    repo::{self, Repo, digits, title},
    world::{Ran, repin},
};

fn run(root: &Path, args: &[&str]) -> Ran {
    Ran::of(&mut repin(root, args))
}

fn page(repo: &Repo) -> String {
    run(repo.path(), &["history", "--html", "-"])
        .exits(0)
        .stdout
}

/// A was promoted, then B, then A.
fn rolled_back() -> Repo {
    let repo = Repo::new();
    repo.promote('a');
    repo.pins('b').commit(format!("{} (#7)", title('b')));
    repo.pins('a').commit("rollback: images");
    repo.publish();
    repo
}

/// The text of each element with this start, up to this end.
fn parts<'p>(page: &'p str, start: &str, end: &str) -> Vec<&'p str> {
    let rest = page.split(start).skip(1);
    rest.map(|part| part.split(end).next().unwrap()).collect()
}

#[test]
fn every_entry_shows_its_set_and_fate() {
    let repo = rolled_back();
    let text = page(&repo);
    let sets = parts(&text, "<li class=\"", "</li>\n");
    let kinds: Vec<_> = sets
        .iter()
        .map(|set| set.split('"').next().unwrap())
        .collect();
    assert_eq!(kinds, ["rollback is-current", "promote", "promote"]);
    let ids = repo.git(&["log", "--format=%H", "-3"]);
    for (set, id) in sets.iter().zip(ids.lines()) {
        assert!(
            set.contains(&format!("<code class=\"id\">{id}</code>")),
            "{set}"
        );
    }
    let [back, undone, first] = sets[..] else {
        panic!("{sets:?}")
    };
    for (set, build) in [(back, 'a'), (undone, 'b'), (first, 'a')] {
        for image in ["fix", "review"] {
            let digest = format!("<code class=\"id\">sha256:{}</code>", digits(image, build));
            assert!(set.contains(&digest), "{digest} in {set}");
        }
        assert!(
            set.contains(&format!(
                "<dd><code class=\"id\">{}</code></dd>",
                repo::revision(build)
            )),
            "{set}"
        );
    }
    let was = format!(
        "<dd class=\"was\">was <code class=\"id\">sha256:{}</code></dd>",
        digits("fix", 'a')
    );
    assert!(
        undone.contains(&was) && !first.contains("class=\"was\""),
        "{undone}"
    );
    assert!(back.contains(">current</span>") && !undone.contains(">current</span>"));
    assert!(undone.contains(">held</span>") && !back.contains(">held</span>"));
    assert!(
        undone.contains("Rolled back by <a href=\"#set-"),
        "{undone}"
    );
    assert!(undone.contains(" · #7</p>"), "{undone}");
    assert!(
        back.contains("Back to the set of <a href=\"#set-"),
        "{back}"
    );
    assert!(undone.contains(" · live for "), "{undone}");
    let held = parts(&text, "<ul>", "</ul>");
    assert!(held[0].contains(&repo::revision('b')), "{held:?}");
    let diff = parts(undone, "<pre", "</pre>")[0];
    for line in [
        "--- a&#x2f;.github&#x2f;workflows&#x2f;fix.yml\n".to_owned(),
        format!(
            "<del>-image: &quot;ghcr.io&#x2f;acme&#x2f;fix@sha256:{}&quot;\n</del>",
            digits("fix", 'a')
        ),
        format!(
            "<ins>+image: &quot;ghcr.io&#x2f;acme&#x2f;fix@sha256:{}&quot;\n</ins>",
            digits("fix", 'b')
        ),
        "@@ -1,2 +1,2 @@\n".to_owned(),
    ] {
        assert!(diff.contains(&line), "{line} in {diff}");
    }
    assert!(undone.contains("Diff of 2 files"));
}

#[test]
fn page_lists_information_missing_in_git() {
    let text = page(&rolled_back());
    for expected in [
        "Not in git, and so not on this page: the labels",
        "<code>origin&#x2f;main</code>",
        "authors and dates are those of the commits",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
}

/// Hostile in HTML, in a template, in a terminal.
const HOSTILE: &str =
    "</style><script>alert(1)</script>\" onload='x' {{ 1 }} \u{202e}\u{1b}[31m&amp;";

#[test]
fn text_of_the_repository_never_becomes_markup() {
    let repo = Repo::new();
    let config = repo::CONFIG.replace("name: images", "name: \"<b onclick=x>'{{ 1 }}\"");
    repo.write("repin.yaml", config);
    repo.write(
        ".github/workflows/x.yml",
        format!("{}\n# {HOSTILE}\n", repo::pin("fix", 'a')),
    );
    repo.write(
        ".github/workflows/<img src=x>.yml",
        format!("{}\n", repo::pin("review", 'a')),
    );
    repo.git(&["config", "user.name", "<script>alert(2)</script>\u{202e}"]);
    repo.commit(HOSTILE);
    repo.pins('b').commit(format!("javascript:{HOSTILE} (#9)"));
    repo.publish();
    let text = page(&repo);
    let tags = well_formed(&text);
    let scripts = tags.iter().filter(|tag| tag.starts_with("<script")).count();
    assert_eq!((scripts, text.matches("<script").count()), (1, 1));
    assert!(
        text.contains("&lt;&#x2f;style&gt;&lt;script&gt;alert(1)"),
        "{text}"
    );
    assert!(text.contains("\\u{202e}\\u{1b}[31m&amp;amp;"), "{text}");
    assert!(text.contains("{{ 1 }}"));
}

/// Every tag; each element is closed in order, and only elements of the page and visible characters occur.
fn well_formed(text: &str) -> Vec<&str> {
    const EMPTY: [&str; 4] = ["meta", "br", "input", "!doctype"];
    let tag = Regex::new(r#"<(/?)([a-zA-Z!][a-zA-Z0-9]*)((?: [a-z-]+(?:="[^"]*")?)*)>"#).unwrap();
    let attribute = Regex::new(r#" ([a-z-]+)(?:="[^"]*")?"#).unwrap();
    let body = Regex::new(r"(?s)<(style|script)>.*?</(style|script)>").unwrap();
    let elements: BTreeSet<&str> = "!doctype html head meta title style body a header h1 h2 h3 p code main section dl dt dd \
        time ul li form label input ol article span details summary div del ins pre footer script strong br \
        table thead tbody tr th td b button"
        .split_whitespace()
        .collect();
    let attributes: BTreeSet<&str> =
        "lang charset http-equiv content name class href aria-labelledby aria-label id hidden \
        role for type autocomplete autocapitalize spellcheck tabindex datetime open rel html scope title"
            .split_whitespace()
            .collect();
    let hidden = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{200b}".contains(c));
    assert!(!text.contains(hidden), "{:?}", text.find(hidden));
    let without = body.replace_all(text, "<$1></$1>");
    let marks = without.matches(['<', '>']).count();
    let found = tag.captures_iter(&without);
    let mut open = Vec::new();
    let mut count = 0;
    for tag in found {
        count += 1;
        let name = tag.get(2).unwrap().as_str();
        assert!(elements.contains(name), "{name}");
        for found in attribute.captures_iter(&tag[3]) {
            assert!(attributes.contains(&found[1]), "{}", &found[1]);
        }
        if &tag[1] == "/" {
            assert_eq!(open.pop(), Some(name.to_owned()));
        } else if !EMPTY.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(marks, 2 * count, "a bare < or >");
    tag.find_iter(text).map(|tag| tag.as_str()).collect()
}

#[test]
fn available_sets_show_the_command_to_copy() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    repo.publish();
    let text = page(&repo);
    let [current, available] = parts(&text, "<li class=\"", "</li>\n")[..] else {
        panic!("{text}")
    };
    let command = format!(
        "repin rollback --to {} --apply --commit --push",
        repo::revision('a')
    );
    let shown = format!("<code class=\"command\">{command}</code>");
    assert!(available.contains(&shown), "{available}");
    assert!(!current.contains("repin rollback"), "{current}");
    let args: Vec<_> = command.split(' ').skip(1).take(3).collect();
    let ran = run(repo.path(), &args);
    assert!(!ran.stderr.contains("is not in history"), "{}", ran.stderr);
}

/// The answers of a page without markup: what is deployed, its state, the way back.
fn answers(page: &str) -> Vec<Vec<String>> {
    let tag = Regex::new("<[^>]*>").unwrap();
    let sections = parts(page, "<section class=\"now ", "</section>");
    let text = |part: &&str| {
        let text = tag.replace_all(part, "").replace("&#x2f;", "/");
        text.trim().to_owned()
    };
    let answers = |section: &&str| parts(section, "</h3>\n", "<h3>").iter().map(text).collect();
    sections.iter().map(answers).collect()
}

#[test]
fn first_section_answers_three_questions() {
    let repo = rolled_back();
    let text = page(&repo);
    let [answers] = &answers(&text)[..] else {
        panic!("{text}")
    };
    let head = repo.git(&["rev-parse", "HEAD"]);
    let expected = [
        format!(
            "{}\nrollback · since T · Ada · {}",
            repo::revision('a'),
            &head[..10]
        ),
        "OK in git: every image has one digest, and none is held.".to_owned(),
        "No older set is available for rollback.".to_owned(),
    ];
    let time = Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\dZ").unwrap();
    let shown = answers.iter().map(|text| time.replace(text, "T"));
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    let order = ["class=\"now ok\"", "id=\"held\"", "id=\"timeline\""];
    let positions: Vec<_> = order.map(|part| text.find(part).unwrap()).into();
    assert!(positions.is_sorted(), "{positions:?}");
}

#[test]
fn each_set_has_one_state() {
    let repo = Repo::new();
    for build in ['a', 'b', 'c'] {
        repo.promote(build);
    }
    repo.pins('b').commit("rollback: images");
    repo.publish();
    let text = page(&repo);
    let badges: Vec<_> = parts(&text, "<li class=\"", "</li>\n")
        .iter()
        .map(|set| parts(set, "<span class=\"badge", "</span>").join(","))
        .collect();
    let expected = [
        " current\">current",
        " held\">held",
        "",
        "\">available for rollback",
    ];
    assert_eq!(badges, expected);
}

#[test]
fn files_and_versions_of_each_set_are_folded() {
    let repo = Repo::new();
    repo.promote('a');
    repo.pins('b');
    let digest = digits("fix", 'b');
    let tagged = |tag: &str| format!("ghcr.io/acme/fix:{tag}@sha256:{digest}\n");
    let revision = repo::revision('b');
    repo.write(
        ".github/workflows/fix.yml",
        [tagged("v1.4.2"), tagged(&revision)].concat(),
    );
    repo.write(
        ".github/workflows/<b>.yml",
        repo::pin("review", 'b') + "\n# ghcr.io/acme/other:v9@sha256:1\n",
    );
    repo.commit(title('b'));
    repo.publish();
    let text = page(&repo);
    well_formed(&text);
    let [newer, older] = parts(&text, "<li class=\"", "</li>\n")[..] else {
        panic!("{text}")
    };
    let files = |set: &str| {
        let files = parts(set, "<details class=\"files\">", "</details>")[0];
        let rows = parts(files, "<div><dt>", "</div>");
        let rows = rows.iter().map(|row| row.replace("&#x2f;", "/"));
        (files.contains(" open"), rows.collect::<Vec<_>>())
    };
    let row = |path: &str, pins: &str| format!("<code>{path}</code></dt><dd>{pins}</dd>");
    let expected = [
        row(".github/workflows/&lt;b&gt;.yml", "review"),
        row(".github/workflows/fix.yml", "fix × 2"),
        row(".github/workflows/review.yml", "review × 2"),
    ];
    assert_eq!(files(newer), (false, expected.to_vec()));
    assert!(newer.contains(">5 pins in 3 files</summary>"), "{newer}");
    assert_eq!(
        files(older),
        (
            false,
            vec![
                row(".github/workflows/fix.yml", "fix"),
                row(".github/workflows/review.yml", "review × 2"),
            ]
        )
    );
    // The tag that contains the revision is no version.
    let versions = parts(newer, "<span class=\"version\">", "</span>");
    assert_eq!(versions, ["v1.4.2"]);
    assert!(!older.contains("class=\"version\""), "{older}");
}

#[test]
fn files_with_the_same_content_have_their_own_pins() {
    let repo = Repo::empty();
    repo.write(
        "repin.yaml",
        "version: 1\nname: images\nfiles: ['*/values.yaml']\n\
         places: { helm: { files: ['b/values.yaml'] } }\nimages:\n  \
         review: { repository: ghcr.io/acme/review, pins: 1 }\n  \
         fix: { repository: ghcr.io/acme/fix, pins: 3 }\n",
    );
    let digest = digits("review", 'a');
    let content = format!(
        "image:\n  repository: ghcr.io/acme/review\n  digest: sha256:{digest}\nother: {}\n",
        repo::pin("fix", 'a')
    );
    for file in ["a/values.yaml", "b/values.yaml", "c/values.yaml"] {
        repo.write(file, &content);
    }
    repo.commit(title('a'));
    repo.publish();
    let text = page(&repo);
    let files = parts(&text, "<details class=\"files\">", "</details>")[0];
    let rows = parts(files, "<div><dt>", "</div>");
    let rows: Vec<_> = rows.iter().map(|row| row.replace("&#x2f;", "/")).collect();
    let row = |path: &str, pins: &str| format!("<code>{path}</code></dt><dd>{pins}</dd>");
    let expected = [
        row("a/values.yaml", "fix"),
        row("b/values.yaml", "review, fix"),
        row("c/values.yaml", "fix"),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn long_lists_of_files_are_cut() {
    let repo = Repo::new();
    repo.promote('a');
    for number in 0..30 {
        let path = format!(".github/workflows/{number:02}.yml");
        repo.write(&path, repo::pin("fix", 'b'));
    }
    repo.pins('b').commit(title('b'));
    repo.publish();
    let text = page(&repo);
    let files = parts(&text, "<details class=\"files\">", "</details>")[0];
    assert_eq!(files.matches("<div>").count(), 20, "{files}");
    assert!(files.contains("33 pins in 32 files"), "{files}");
    assert!(files.contains("… 12 more: <code>git grep"), "{files}");
}

#[test]
fn current_set_is_shown_once() {
    let text = page(&rolled_back());
    for (count, shown) in [(1, ">current</span>"), (1, " is-current\""), (1, " open>")] {
        assert_eq!(text.matches(shown).count(), count, "{shown} in {text}");
    }
    assert_eq!(text.matches("ghcr.io&#x2f;acme&#x2f;fix</span>").count(), 1);
    // The subjects of the promotions repeat their revisions.
    let subjects = parts(&text, "<p class=\"subject\">", "</p>");
    assert_eq!(subjects, ["rollback: images"]);
}

/// A second set next to that of `repin.yaml`.
const PROD: &str = r#"version: 1
name: prod
files: ["prod.yml"]
images:
  review: { repository: ghcr.io/acme/review, pins: 1 }
"#;

/// The page of both sets.
fn page_of_all_sets(repo: &Repo, args: &[&str]) -> Ran {
    run(
        repo.path(),
        &[&["history", "--all", "--html", "-"], args].concat(),
    )
}

fn two_sets() -> Repo {
    let repo = rolled_back();
    repo.write("envs/prod/repin.yaml", PROD);
    repo.write(
        "envs/prod/prod.yml",
        format!("{}\n", repo::pin("review", 'c')),
    );
    repo.commit(HOSTILE);
    repo.git(&[
        "commit",
        "--amend",
        "--quiet",
        "--no-edit",
        "--author=&lt;b \u{202e} <b@example.org>",
    ]);
    repo.publish();
    repo
}

#[test]
fn page_of_all_sets_is_escaped() {
    let repo = two_sets();
    let text = page_of_all_sets(&repo, &[]).exits(0).stdout;
    let tags = well_formed(&text);
    let scripts = tags.iter().filter(|tag| tag.starts_with("<script")).count();
    assert_eq!((scripts, text.matches("<script").count()), (1, 1));
    assert_policy(&text);
    assert!(text.contains("&amp;lt;b \\u{202e}</span>"), "{text}");
    assert_eq!(text, page_of_all_sets(&repo, &[]).stdout);
}

#[test]
fn page_of_all_sets_answers_for_each_environment() {
    let repo = two_sets();
    repo.write(
        "envs/prod/prod.yml",
        format!("{}\n", repo::pin("review", 'b')),
    );
    repo.commit(format!("promote: prod @{}", repo::revision('b')));
    repo.write(
        "envs/prod/prod.yml",
        format!("{}\n", repo::pin("review", 'a')),
    );
    repo.commit("promote: prod @v1");
    repo.publish();
    let text = page_of_all_sets(&repo, &[]).exits(0).stdout;
    // Production first, and its only older set with a revision.
    let names: Vec<_> = parts(&text, "<h2 id=\"now-", "</h2>")
        .iter()
        .map(|heading| heading.split('>').nth(1).unwrap())
        .collect();
    assert_eq!(names, ["prod", "images"]);
    let answers = answers(&text);
    let command = format!(
        "repin rollback --config envs/prod/repin.yaml --to {} --apply --commit --push",
        repo::revision('b')
    );
    assert!(answers[0][2].contains(&command), "{:?}", answers[0]);
    assert!(answers[0][1].starts_with("OK in git:"), "{:?}", answers[0]);
    let headings = parts(&text, "scope=\"col\">", "</th>");
    assert_eq!(headings, ["Set", "images", "prod"]);
}

#[test]
fn page_of_all_sets_shows_its_gaps() {
    let repo = two_sets();
    let text = page_of_all_sets(&repo, &["--limit", "1"]).exits(0).stdout;
    assert!(text.contains("; the newest 1 of 3 sets."), "{text}");
    assert_eq!(parts(&text, "<th scope=\"row\">", "</th>").len(), 1);
    repo.write("envs/prod/repin.yaml", "version: 2\n");
    let text = page_of_all_sets(&repo, &[]).exits(2).stdout;
    let gap =
        "<strong>Incomplete:</strong> <code>envs&#x2f;prod&#x2f;repin.yaml</code>: error: config";
    assert!(text.contains(gap), "{text}");
    let args = ["history", "--all", "--html", "sets.html"];
    let ran = run(repo.path(), &args).exits(2);
    assert!(ran.stderr.contains("wrote sets.html"), "{}", ran.stderr);
}

#[test]
fn equal_history_makes_equal_bytes() {
    let repo = rolled_back();
    let text = page(&repo);
    assert_eq!(text, page(&repo));
    let clone = repo.cloned(&["--origin", "origin"]);
    clone.git(&["remote", "set-head", "origin", "--auto"]);
    let head = repo.git(&["rev-parse", "--abbrev-ref", "HEAD"]);
    let here = page(&clone).replace(&format!("origin&#x2f;{head}"), "origin&#x2f;main");
    assert_eq!(text, here);
}

/// Checks that the policy allows only the style and the script of the page.
fn assert_policy(text: &str) {
    let policy = parts(
        text,
        "http-equiv=\"Content-Security-Policy\" content=\"",
        "\"",
    )[0];
    let hash = |start, end| {
        let found = parts(text, start, end);
        assert_eq!(found.len(), 1);
        format!("sha256-{}", STANDARD.encode(Sha256::digest(found[0])))
    };
    let expected = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
        hash("<style>", "</style>"),
        hash("<script>", "</script>")
    );
    assert_eq!(policy.replace("&#x2f;", "/"), expected);
}

#[test]
fn policy_allows_only_the_embedded_script() {
    let text = page(&rolled_back());
    assert_policy(&text);
    let references = Regex::new(r#"(?:href|src|srcset|action|data|poster)="([^"]*)""#).unwrap();
    for reference in references.captures_iter(&text) {
        assert!(reference[1].starts_with('#'), "{}", &reference[1]);
    }
    assert!(!text.contains("url(") && !text.contains("@import"));
}

#[test]
fn page_is_written_whole_or_not_at_all() {
    let repo = rolled_back();
    let html = |args: &[&str]| run(repo.path(), &[&["history"], args].concat());
    let ran = html(&["--html", "page.html"]).exits(0);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("", "wrote page.html\n")
    );
    let text = page(&repo);
    assert_eq!(fs::read_to_string(repo.join("page.html")).unwrap(), text);
    // A link is not followed or replaced: it may be /dev/stdout.
    fs::write(repo.join("other"), "mine").unwrap();
    symlink("other", repo.join("link.html")).unwrap();
    let ran = html(&["--html", "link.html"]).exits(2);
    assert!(
        ran.stderr.contains("link.html is not a regular file"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(repo.join("other")).unwrap(), "mine");
    assert!(
        fs::symlink_metadata(repo.join("link.html"))
            .unwrap()
            .is_symlink()
    );
    fs::create_dir(repo.join("directory")).unwrap();
    let ran = html(&["--html", "directory"]).exits(2);
    assert!(
        ran.stderr.contains("directory is a directory"),
        "{}",
        ran.stderr
    );
    html(&["--html", "missing/page.html"]).exits(2);
    let names: BTreeSet<_> = fs::read_dir(repo.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = [
        ".git",
        ".github",
        "directory",
        "link.html",
        "other",
        "page.html",
        "repin.yaml",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
    let document = html(&["--html", "page.html", "--format", "json"]).exits(0);
    assert_eq!(document.json()["schema"], "repin.history/1");
    html(&["--html", "-", "--format", "json"]).exits(2);
}

#[test]
fn limited_page_has_no_dead_link() {
    let repo = rolled_back();
    let ran = run(repo.path(), &["history", "--html", "-", "--limit", "1"]).exits(0);
    let text = ran.stdout;
    assert!(text.contains("; the newest 1 of 3 entries</p>"), "{text}");
    assert_eq!(parts(&text, "<li class=\"", "</li>\n").len(), 1);
    let ids: BTreeSet<_> = parts(&text, " id=\"", "\"").into_iter().collect();
    for link in parts(&text, "href=\"#", "\"") {
        assert!(ids.contains(link), "{link}");
    }
    assert_eq!(ids.len(), parts(&text, " id=\"", "\"").len());
}

#[test]
fn a_configured_forge_makes_numbers_links() {
    let repo = rolled_back();
    let config = fs::read_to_string(repo.join("repin.yaml")).unwrap();
    for (url, repository, page_of) in [
        (
            "https://api.github.com",
            "acme/flows",
            "https:&#x2f;&#x2f;github.com&#x2f;acme&#x2f;flows&#x2f;pull&#x2f;7",
        ),
        (
            "https://git.example/api/v1",
            "a/b",
            "https:&#x2f;&#x2f;git.example&#x2f;a&#x2f;b&#x2f;pulls&#x2f;7",
        ),
        (
            "https://github.example/api/v3",
            "a/b",
            "https:&#x2f;&#x2f;github.example&#x2f;a&#x2f;b&#x2f;pull&#x2f;7",
        ),
    ] {
        let kind = if url.contains("github") {
            "github"
        } else {
            "gitea"
        };
        let block = format!("forge: {{ kind: {kind}, url: '{url}', repository: {repository} }}\n");
        repo.write("repin.yaml", format!("{config}{block}"));
        let link = format!("<a href=\"{page_of}\" rel=\"external noopener noreferrer\">#7</a>");
        let text = page(&repo);
        assert!(text.contains(&link), "{link} in {text}");
        let pages = page_of.split("pull").next().unwrap();
        let commit = repo.git(&["rev-parse", "HEAD"]);
        let link = format!("<a href=\"{pages}commit&#x2f;{}\" rel=", commit.trim());
        assert!(text.contains(&link), "{link} in {text}");
    }
}

#[test]
fn unreadable_information_is_on_the_page() {
    let repo = rolled_back();
    let config = fs::read_to_string(repo.join("repin.yaml")).unwrap();
    repo.write("repin.yaml", "version: 9\n").commit("break it");
    repo.publish();
    repo.write("repin.yaml", config);
    let ran = run(repo.path(), &["history", "--html", "-"]).exits(0);
    assert!(
        ran.stdout.contains("<li class=\"unreadable\""),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("The set of this commit is unknown: repin.yaml:"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("<strong>Incomplete:</strong> commit "),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("warning: the set of commit"),
        "{}",
        ran.stderr
    );
}

#[test]
fn diffs_of_any_change_are_those_of_git() {
    let repo = Repo::new();
    repo.promote('a');
    let more = format!(
        "first: 1\na: {}\nb: {}\n",
        repo::pin("review", 'b'),
        repo::pin("review", 'b')
    );
    repo.write(".github/workflows/review.yml", more);
    repo.write(
        ".github/workflows/fix.yml",
        format!("image: \"{}\"\nlast", repo::pin("fix", 'b')),
    );
    repo.write(".github/workflows/beside.yml", "no pin\n");
    repo.commit(title('b'));
    repo.publish();
    let files = [".github/workflows/fix.yml", ".github/workflows/review.yml"];
    assert_eq!(
        shown_diff(&repo, 0),
        git_diff(&repo, "HEAD~1", "HEAD", &files)
    );
}

/// The lines of the diff of an entry on the page, newest first.
fn shown_diff(repo: &Repo, entry: usize) -> Vec<String> {
    let text = page(repo);
    let set = parts(&text, "<li class=\"", "</li>\n")[entry];
    let diff = parts(set, "\">\n", "</pre>")
        .into_iter()
        .find(|part| part.starts_with("--- "))
        .unwrap_or_default();
    let plain = Regex::new("</?(?:del|ins)>").unwrap().replace_all(diff, "");
    let plain = plain.replace("&#x2f;", "/").replace("&quot;", "\"");
    plain.trim_end().lines().map(str::to_owned).collect()
}

/// The same lines as git prints them.
fn git_diff(repo: &Repo, from: &str, to: &str, files: &[&str]) -> Vec<String> {
    let prefixes = ["--no-prefix", "--src-prefix=a/", "--dst-prefix=b/"];
    let diff = [&["diff", "-U1"], &prefixes[..], &[from, to, "--"], files].concat();
    let text = repo.git(&diff);
    let of_git = ["diff ", "index ", "new file ", "deleted file "];
    let kept = text
        .lines()
        .filter(|line| !of_git.iter().any(|start| line.starts_with(start)));
    kept.map(str::to_owned).collect()
}

#[test]
fn file_that_loses_its_pins_is_shown() {
    let repo = Repo::new();
    repo.promote('a');
    let [review, fix] = ["review", "fix"].map(|image| repo::pin(image, 'b'));
    repo.write(".github/workflows/fix.yml", "moved\n").write(
        ".github/workflows/review.yml",
        format!("{review}\n{review}\n{fix}\n"),
    );
    repo.commit(title('b'));
    repo.publish();
    let files = [".github/workflows/fix.yml", ".github/workflows/review.yml"];
    assert_eq!(
        shown_diff(&repo, 0),
        git_diff(&repo, "HEAD~1", "HEAD", &files)
    );
}

#[test]
fn diff_has_files_next_to_the_configuration() {
    let repo = Repo::empty();
    repo.write("repin.yaml", repo::CONFIG);
    repo.write("other/x.yml", "none\n");
    repo.promote('a');
    let config = repo::CONFIG.replace("*.yml\"]", "*.yml\", \"other/*.yml\"]");
    let pins = |build| format!("{}\n", repo::pin("fix", build));
    repo.write("repin.yaml", config.replace("pins: 1", "pins: 2"))
        .write("other/x.yml", pins('b'));
    repo.promote('b');
    repo.write("other/x.yml", pins('c'));
    repo.promote('c');
    repo.publish();
    let all = [
        ".github/workflows/fix.yml",
        ".github/workflows/review.yml",
        "other/x.yml",
    ];
    assert_eq!(
        shown_diff(&repo, 0),
        git_diff(&repo, "HEAD~1", "HEAD", &all)
    );
    // The past of a file that is new to the configuration is unknown.
    assert_eq!(
        shown_diff(&repo, 1),
        git_diff(&repo, "HEAD~2", "HEAD~1", &all[..2])
    );
    // The first commit has all of its files.
    let empty = repo.git(&["hash-object", "-t", "tree", "/dev/null"]);
    assert_eq!(
        shown_diff(&repo, 2),
        git_diff(&repo, &empty, "HEAD~2", &all[..2])
    );
}

/// The note in place of a diff.
const TOO_LARGE: &str = "The diff of this set is too large for this page; git shows it.";

#[test]
fn oversized_diff_is_omitted_with_a_note() {
    let repo = Repo::new();
    repo.promote('a');
    let many = |line: &str| format!("{}\n{}", repo::pin("fix", 'b'), line.repeat(4_000));
    repo.pins('b')
        .write(".github/workflows/fix.yml", many("# words\n"))
        .commit(title('b'));
    repo.pins('c')
        .write(
            ".github/workflows/fix.yml",
            many("# words\n").replace(&repo::pin("fix", 'b'), &repo::pin("fix", 'c')),
        )
        .commit(title('c'));
    // The file of `e` is larger than a file that is read, and the rest of its diff is small.
    repo.promote('d');
    let large = format!("{}\n{}", repo::pin("fix", 'e'), "x".repeat(1024 * 1024));
    repo.pins('e')
        .write(".github/workflows/fix.yml", large)
        .commit(title('e'));
    repo.publish();
    let text = page(&repo);
    let sets = parts(&text, "<li class=\"", "</li>\n");
    let left_out: Vec<_> = sets.iter().map(|set| set.contains(TOO_LARGE)).collect();
    assert_eq!(left_out, [true, true, false, true, false]);
    let with_diff: Vec<_> = sets.iter().map(|set| set.contains("<pre")).collect();
    assert_eq!(with_diff, [false, false, true, false, true]);
}

#[test]
fn largest_diff_has_32_kibibytes() {
    let with_line = |length: usize| {
        let repo = Repo::new();
        repo.promote('a');
        let text = format!("{}\n{}\n", repo::pin("fix", 'b'), "x".repeat(length));
        repo.pins('b').write(".github/workflows/fix.yml", text);
        repo.commit(title('b'));
        repo.publish();
        repo
    };
    let short = shown_diff(&with_line(1), 0);
    let rest = 32 * 1024 - (short.join("\n").len() + 1);
    for (length, is_shown) in [(1 + rest, true), (2 + rest, false)] {
        let repo = with_line(length);
        assert_eq!(shown_diff(&repo, 0).len() == short.len(), is_shown);
        assert_eq!(page(&repo).contains(TOO_LARGE), !is_shown);
    }
}

#[test]
fn set_changed_by_configuration_has_no_diff() {
    let repo = Repo::new();
    repo.write("other/x.yml", format!("{}\n", repo::pin("fix", 'b')));
    repo.promote('a');
    let config = repo::CONFIG.replace("*.yml\"]", "*.yml\", \"other/*.yml\"]");
    repo.write("repin.yaml", config).commit("count more");
    repo.publish();
    let text = page(&repo);
    let sets = parts(&text, "<li class=\"", "</li>\n");
    assert_eq!(sets.len(), 2);
    assert!(
        sets[0].contains("This commit changed no file with pins"),
        "{}",
        sets[0]
    );
}

#[test]
fn page_of_200_sets_has_at_most_150_kibibytes() {
    const SETS: usize = 200;
    let repo = Repo::new();
    let mut stream = String::from("reset refs/heads/long\n");
    for number in 0..SETS {
        let pin = |image: &str| format!("ghcr.io/acme/{image}@sha256:{number:064x}\n");
        let file = format!(
            "{}{}{}",
            pin("fix"),
            pin("review").repeat(2),
            format!("# {number}\n").repeat(2_000)
        );
        let config = repo::CONFIG;
        let _ = write!(
            stream,
            "commit refs/heads/long\ncommitter A <a@b> {} +0000\ndata 3\nset\nM 100644 inline .github/workflows/x.yml\n\
             data {}\n{file}\nM 100644 inline repin.yaml\ndata {}\n{config}\n",
            1_700_000_000 + number,
            file.len(),
            config.len()
        );
    }
    let input = repo.join(".git/stream");
    fs::write(&input, stream).unwrap();
    let import = Command::new("git")
        .args(["fast-import", "--quiet"])
        .current_dir(repo.path())
        .stdin(fs::File::open(&input).unwrap())
        .status()
        .unwrap();
    assert!(import.success());
    repo.git(&["reset", "-q", "--hard", "long"]);
    repo.publish();
    let text = page(&repo);
    let sets = parts(&text, "<li class=\"", "</li>\n");
    assert_eq!(sets.len(), SETS);
    let ids: BTreeSet<_> = sets
        .iter()
        .map(|set| set.split('"').nth(2).unwrap())
        .collect();
    assert_eq!(ids.len(), SETS);
    assert!(sets[0].contains("<pre"), "{}", sets[0]);
    let note = format!("of {SETS} entries have their images here");
    assert!(text.contains(&note), "{text}");
    assert!(text.len() <= 150 * 1024, "{}", text.len());
}
