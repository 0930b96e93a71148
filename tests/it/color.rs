//! Colors of results: on a terminal and with `--color always`, and never otherwise.

use crate::support::{
    terminal,
    world::{REV_A, REV_B, World, world},
};

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const DIM: &str = "\u{1b}[2m";

/// A world in which every pin is counted.
fn counted() -> World {
    let world = world();
    let settings = "outside_ignore: [.github/workflows/b.yml]\n";
    world.write("repin.yaml", world.read("repin.yaml") + settings);
    world
}

/// Checks that the lines that begin with a color are exactly those that begin with these texts, and that no
/// color remains without `--color always`.
fn check_colors(world: &World, args: &[&str], exit: i32, expected: &[(&str, &str)]) {
    let colored = world.run(&[args, &["--color", "always"]].concat());
    let colored = colored.exits(exit).stdout;
    let lines: Vec<_> = colored
        .lines()
        .filter(|line| line.contains('\u{1b}'))
        .collect();
    assert_eq!(lines.len(), expected.len(), "{colored}");
    for (line, (color, text)) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("{color}{text}")), "{colored}");
        assert!(line.ends_with("\u{1b}[0m"), "{colored}");
        assert_eq!(line.matches('\u{1b}').count(), 2, "{colored}");
    }
    for plain in [&[][..], &["--color", "never"]] {
        let ran = world.run(&[args, plain].concat()).exits(exit);
        assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
        let colored = terminal_text(&colored);
        assert_eq!(colored, ran.stdout);
    }
    let (shown, _) = terminal::shown(world.command(args));
    assert!(shown.contains(expected[0].0), "{shown:?}");
    let mut command = world.command(args);
    command.env("NO_COLOR", "1");
    let (shown, _) = terminal::shown(command);
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

/// The text without colors.
fn terminal_text(text: &str) -> String {
    [GREEN, YELLOW, RED, DIM, "\u{1b}[0m"]
        .iter()
        .fold(text.to_owned(), |text, color| text.replace(color, ""))
}

#[test]
fn passed_check_is_green() {
    let world = counted();
    check_colors(&world, &["check"], 0, &[(GREEN, "OK: 5 pins")]);
}

#[test]
fn scan_marks_malformed_and_miscounted_pins() {
    let world = counted();
    let args = ["scan", "--color", "always"];
    let ran = world.run(&args).exits(0);
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    world.replace("repin.yaml", "pins: 2", "pins: 1");
    world.write(
        ".github/workflows/c.yml",
        "x: ghcr.io/acme/review@sha256:abc\n",
    );
    let pin = ".github/workflows/b.yml:";
    check_colors(
        &world,
        &["scan"],
        0,
        &[
            (YELLOW, pin),
            (YELLOW, pin),
            (RED, ".github/workflows/c.yml:1:"),
        ],
    );
}

#[test]
fn status_colors_sets_and_problems() {
    let world = counted().with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    world.roll_back(REV_A);
    world.write(
        ".github/workflows/c.yml",
        "image: ghcr.io/acme/fix:latest\n",
    );
    world.commit("add an unpinned image");
    let expected = [
        (GREEN, "set  "),
        (YELLOW, "held  "),
        (RED, "pins  "),
        (RED, "unpinned  "),
        (DIM, "not queried  "),
        (YELLOW, "not read  "),
        (RED, "not OK: "),
    ];
    check_colors(&world, &["status"], 0, &expected);
}
