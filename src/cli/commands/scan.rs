//! `repin scan`: every pin, with its place. Only lists: what it finds is never a failure.

use std::fmt::Write as _;

use crate::{
    cli::{context::Context, exit::Exit, output::Format},
    config::Config,
    error::Errors,
    outside,
    pins::{self, Found},
    report::{
        json::ScanDocument,
        table::{Align, aligned},
    },
    untrusted::plain,
};

pub(in crate::cli) fn run(cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    super::recover::mention(&config, &cx.output);
    let found = pins::find(&outside::work_tree(&config), &config)?;
    match cx.output.format {
        Format::Json => cx.output.json(&ScanDocument::new(&config, &found)),
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
        .pins
        .iter()
        .map(|pin| {
            let place = format!("{}:{}:{}", pin.file, pin.what.line, pin.what.column);
            let tag = pin
                .what
                .tag
                .as_ref()
                .map_or_else(String::new, |tag| format!("  (tag {tag})"));
            row(place, pin.what.image, format!("{}{tag}", pin.what.digest))
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
        "{} files, pins: {}",
        found.files,
        counts.collect::<Vec<_>>().join(", ")
    );
    for (path, hazard) in &found.hazards {
        let _ = write!(text, "\nwarning: {}: {hazard}", plain(&path.to_string()));
    }
    text
}
