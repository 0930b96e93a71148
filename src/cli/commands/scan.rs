//! `repin scan`: list every pin with its place; never fails because of what it finds.

use std::fmt::Write as _;

use crate::{
    checks,
    cli::{context::Context, exit::Exit, format::Format},
    config::{Config, number},
    error::Errors,
    outside,
    pins::{self, Found},
    report::{
        json::ScanDocument,
        sarif::Findings,
        table::{Align, aligned},
    },
    untrusted::plain,
    workflow::warn_if_interrupted,
};

pub(in crate::cli) fn run(cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    warn_if_interrupted(&config, &*cx.services.console);
    let found = pins::find_in(&outside::work_tree(&config), &config)?;
    crate::workflow::globs::places_differ(&config, &found)?;
    match cx.output.format {
        Format::Json => cx.output.json(&ScanDocument::new(&config, &found)),
        Format::Sarif => {
            let checks = checks::counts(&config, &found);
            let findings = Findings::of_scan(&config, &found, &checks);
            cx.output.sarif(&findings, None, Exit::Done);
        }
        Format::Human | Format::Github => {
            cx.output.print(pins_table(&config, &found));
            cx.output.note(&summary(&config, &found));
        }
    }
    Ok(Exit::Done)
}

fn pins_table(config: &Config, found: &Found) -> String {
    let row = |place: String, image: usize, what: String| {
        vec![plain(&place), config.images[image].name.clone(), what]
    };
    let mut rows: Vec<_> = found
        .pins()
        .iter()
        .map(|pin| {
            let place = format!("{}:{}:{}", pin.file, pin.what.line, pin.what.column);
            let tag = pin
                .what
                .tag
                .as_ref()
                .map_or_else(String::new, |tag| format!("  (tag {tag})"));
            let split = pin.what.split.as_ref().map_or_else(String::new, |split| {
                let pointer = split.pointer.as_deref().unwrap_or_default();
                let name = &config.places[split.place].name;
                format!("  ({})", plain(format!("{name} {pointer}").trim_end()))
            });
            row(
                place,
                pin.what.image,
                format!("{}{tag}{split}", pin.what.digest),
            )
        })
        .collect();
    rows.extend(found.malformed.iter().map(|malformed| {
        let place = format!(
            "{}:{}:{}",
            malformed.file, malformed.what.line, malformed.what.column
        );
        row(
            place,
            malformed.what.image,
            format!("malformed: {}", plain(&malformed.what.text)),
        )
    }));
    rows.extend(found.refused.iter().map(|refused| {
        let place = format!(
            "{}:{}:{}",
            refused.file, refused.what.line, refused.what.column
        );
        let image = refused.what.image;
        let name = image.map_or_else(|| "-".to_owned(), |at| config.images[at].name.clone());
        let name_of_place = &config.places[refused.what.place].name;
        let why = plain(&refused.what.why);
        vec![
            plain(&place),
            name,
            format!("refused by {name_of_place}: {why}"),
        ]
    }));
    aligned(&[Align::Left, Align::Left, Align::Left], &rows)
}

fn summary(config: &Config, found: &Found) -> String {
    let images = config.images.iter().enumerate();
    let counts = images.map(|(at, image)| {
        format!(
            "{} {} of {}",
            image.name,
            found.pins_of(at).count(),
            image.pins
        )
    });
    let mut text = format!(
        "{}, pins: {}",
        number(found.files, "file"),
        counts.collect::<Vec<_>>().join(", ")
    );
    for (path, hazard) in &found.hazards {
        let _ = write!(text, "\nwarning: {}: {hazard}", plain(&path.to_string()));
    }
    text
}
