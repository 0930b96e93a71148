//! Tables that fit the width of a terminal, and values that are never shortened.

use crate::support::{
    layout::Platform,
    terminal::{shown, shown_at},
    world::{REV_A, REV_B, World, world},
};

/// The usual width, and a narrow one.
const WIDTHS: [u16; 2] = [80, 40];

/// Checks that no line is wider than the terminal, except for a line with only a long word.
fn fits(text: &str, columns: u16) {
    for line in text.lines() {
        let single = line.split_whitespace().count() == 1;
        let fits = line.chars().count() <= usize::from(columns);
        assert!(fits || single, "{columns}: {line:?} in\n{text}");
    }
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|shown| shown.trim() == line)
}

fn at(columns: u16, world: &World, args: &[&str]) -> String {
    let (text, code) = shown_at(columns, world.command(args));
    assert_eq!(code, Some(world.run(args).code), "{text}");
    ["0", "31", "32", "33"].iter().fold(text, |text, color| {
        text.replace(&format!("\u{1b}[{color}m"), "")
    })
}

/// The text with single blanks for all white space.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn scan_fits_the_terminal() {
    let world = world();
    let malformed = "ghcr.io/acme/fix@sha256:abc";
    world.write(".github/workflows/c.yml", malformed);
    let piped = world.run(&["scan"]).exits(0).stdout;
    for columns in WIDTHS {
        let text = at(columns, &world, &["scan"]);
        fits(&text, columns);
        for image in ["review", "fix"] {
            assert!(has_line(&text, world.digest(image, REV_A)), "{text}");
        }
        assert!(text.contains(&format!("{REV_A})")), "{text}");
        assert!(
            text.contains(&format!("malformed: {malformed}\n")),
            "{text}"
        );
        assert_eq!(text.matches("sha256:").count(), 6, "{text}");
    }
    // A table that fits stays a table, and so does one at an unknown width.
    assert!(piped.lines().any(|line| line.chars().count() > 80));
    assert!(at(200, &world, &["scan"]).starts_with(&piped));
    let plain = ["scan", "--color", "never"];
    assert!(shown(world.command(&plain)).0.starts_with(&piped));
    let github = ["scan", "--format", "github"];
    let piped = world.run(&github).exits(0).stdout;
    assert!(at(80, &world, &github).starts_with(&piped));
}

#[test]
fn paths_with_blanks_stay_whole() {
    let world = world();
    let path = ".github/workflows/a workflow with a rather long name.yml";
    let pin = format!("ghcr.io/acme/fix@{}", world.digest("fix", REV_A));
    world.write(path, pin);
    let text = at(40, &world, &["scan"]);
    let place = format!("{path}:1:1");
    assert!(text.lines().any(|line| line == place), "{text}");
}

#[test]
fn verbose_history_fits_the_terminal() {
    let world = world().with_git();
    world.promoted(REV_B);
    let subject = format!("promote: test images @{REV_B}");
    let history = ["history", "-v"];
    for columns in WIDTHS {
        let text = at(columns, &world, &history);
        fits(&text, columns);
        for revision in [REV_A, REV_B] {
            for image in ["review", "fix"] {
                assert!(has_line(&text, world.digest(image, revision)), "{text}");
            }
        }
        let revision = format!("revision {REV_B}");
        assert!(unwrapped(&text).contains(&revision), "{text}");
        let head = world.head();
        assert!(text.contains(head.trim()), "{text}");
        assert!(unwrapped(&text).contains(&subject), "{text}");
    }
    // Without a width, each set is one line.
    let piped = world.run(&history).exits(0).stdout;
    assert_eq!(piped.lines().count(), 3, "{piped}");
    assert!(shown(world.command(&history)).0.starts_with(&piped));
}

#[test]
fn doctor_fits_the_terminal() {
    let world = world().with_git();
    let secret = "A_VARIABLE_WITH_A_NAME_THAT_IS_LONGER_THAN_THE_NARROW_TERMINAL";
    let smoke = format!("smoke: {{ command: [x], env: [{secret}], engine: docker }}\n");
    world.write("repin.yaml", world.read("repin.yaml") + &smoke);
    let review = world.digest("review", REV_A);
    let document = world.run(&["doctor", "--format", "json"]).json();
    let rows = document["checks"].as_array().unwrap();
    for columns in WIDTHS {
        let text = at(columns, &world, &["doctor", "-v"]);
        fits(&text, columns);
        assert!(text.contains(secret), "{text}");
        assert!(text.contains(review), "{text}");
        let unwrapped = unwrapped(&text);
        for row in rows {
            let detail = row["detail"].as_str().unwrap();
            assert!(unwrapped.contains(detail), "{detail}: {text}");
            let help = row["hint"].as_str().unwrap_or_default();
            assert!(unwrapped.contains(help), "{help}: {text}");
        }
        fits(&at(columns, &world, &["doctor"]), columns);
    }
    // Without a width, each detail is one line.
    let piped = world.run(&["doctor", "-v"]).stdout;
    let widest = piped.lines().map(|line| line.chars().count()).max();
    assert!(widest > Some(80), "{piped}");
    let plain = ["doctor", "-v", "--color", "never"];
    let (text, _) = shown(world.command(&plain));
    assert!(text.starts_with(&piped), "{text}");
}

#[test]
fn resolve_fits_the_terminal() {
    let mut world = world();
    let name = "an-image-with-a-name-that-is-longer-than-the-narrow-terminal-is-wide";
    let label = "dev.acme.a-label-with-a-name-that-is-longer-than-the-narrow-terminal";
    world.replace("repin.yaml", "  fix:", &format!("  {name}:"));
    world.replace("repin.yaml", "dev.acme.version", label);
    let value = "a value of many words ".repeat(8);
    let platform = Platform::new("linux/amd64", REV_B).label(label, value.trim_end());
    world.rebuild("fix", REV_B, &[platform]);
    let resolve = ["resolve", "--revision", REV_B];
    let piped = world.run(&resolve).exits(0).stdout;
    let narrow = WIDTHS.map(|columns| (columns, at(columns, &world, &resolve)));
    // Without a width, the output has 80 columns.
    for (columns, text) in narrow.into_iter().chain([(80, piped)]) {
        fits(&text, columns);
        for image in ["review", "fix", "base"] {
            assert!(has_line(&text, world.digest(image, REV_B)), "{text}");
        }
        let unwrapped = unwrapped(&text);
        for part in [
            format!("{name} tag {REV_B}"),
            format!("linux/amd64 revision {REV_B}"),
            format!("{label} {}", value.trim_end()),
        ] {
            assert!(unwrapped.contains(&part), "{part}: {text}");
        }
    }
    let wide = at(250, &world, &resolve);
    assert!(
        has_line(&wide, &format!("{label}  {}", value.trim_end())),
        "{wide}"
    );
}
