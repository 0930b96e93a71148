//! `repin scan`: lists every pin with its place. Malformed pins do not change the exit code.

use clap::Args;

use crate::{
    app::{
        cli::{
            context::Context,
            format::Format,
            output::{Exit, Output},
        },
        report::{
            json::ScanDocument,
            layout::{Align, Color, Palette, aligned, indented, indented_words},
            sarif::Findings,
        },
        workflow::{site, warn_if_interrupted},
    },
    base::{
        error::Errors,
        text::counted,
        untrusted::{plain, width},
    },
    config::Config,
    core::{
        checks,
        pins::{self, FoundPins},
    },
};

/// List every pin: file, line, column, image, digest
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  repin scan --format json | jq '.pins[].file'")]
pub(in crate::app::cli) struct Arguments;

pub(in crate::app::cli) fn run(_: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    warn_if_interrupted(&config, &*cx.services.console);
    let found = pins::find(&config.work_tree(), &config)?;
    site::check_places(&config, &found)?;
    match cx.output.format {
        Format::Json => cx.output.print_json(&ScanDocument::new(&config, &found)),
        Format::Sarif | Format::Gitlab => {
            let checks = checks::check_pins(&config, &found);
            let findings = Findings::from_scan(&config, &found, &checks);
            cx.output.print_findings(&findings, None, Exit::Done);
        }
        Format::Human | Format::Github => {
            let columns = cx.output.columns;
            let table = table(&rows(&config, &found), columns, cx.output.palette());
            cx.output.print(table);
            summary(&config, &found, &cx.output);
        }
    }
    Ok(Exit::Done)
}

/// A pin, or a malformed or refused text.
struct Row {
    place: String,
    image: String,
    /// The digest or the reason, and remarks; words are not broken.
    parts: Vec<Vec<String>>,
    color: Option<Color>,
}

fn rows(config: &Config, found: &FoundPins) -> Vec<Row> {
    // A wrong count concerns every pin of the image.
    let images = config.images.iter().enumerate();
    let is_counted: Vec<_> = images
        .map(|(index, image)| found.pins_of(index).count() == image.pins)
        .collect();
    let mut rows = Vec::new();
    for pin in found.pins() {
        let mut parts = vec![vec![pin.item.digest.to_string()]];
        if let Some(tag) = &pin.item.tag {
            parts.push(vec!["(tag".to_owned(), format!("{tag})")]);
        }
        if let Some(split) = &pin.item.split {
            let name = &config.places[split.place].name;
            parts.push(match split.pointer.as_deref().map(plain) {
                Some(pointer) if !pointer.trim_end().is_empty() => {
                    vec![format!("({name}"), format!("{})", pointer.trim_end())]
                }
                _ => vec![format!("({name})")],
            });
        }
        let place = format!("{}:{}:{}", pin.file, pin.item.line, pin.item.column);
        rows.push(Row {
            place: plain(&place),
            image: config.images[pin.item.image].name.clone(),
            parts,
            color: (!is_counted[pin.item.image]).then_some(Color::Yellow),
        });
    }
    for malformed in &found.malformed {
        let item = &malformed.item;
        let place = format!("{}:{}:{}", malformed.file, item.line, item.column);
        rows.push(Row {
            place: plain(&place),
            image: config.images[item.image].name.clone(),
            parts: vec![vec!["malformed:".to_owned(), plain(&item.text)]],
            color: Some(Color::Red),
        });
    }
    for refused in &found.refused {
        let item = &refused.item;
        let place = format!("{}:{}:{}", refused.file, item.line, item.column);
        let image = item.image.map(|index| config.images[index].name.clone());
        let name = &config.places[item.place].name;
        let reason = format!("refused by {name}: {}", plain(&item.reason));
        rows.push(Row {
            place: plain(&place),
            image: image.unwrap_or_else(|| "-".to_owned()),
            parts: vec![reason.split(' ').map(str::to_owned).collect()],
            color: Some(Color::Red),
        });
    }
    rows
}

/// A table, or blocks if the table is wider than the terminal.
fn table(rows: &[Row], columns: Option<usize>, palette: Palette) -> String {
    let mut cells = Vec::new();
    for row in rows {
        let parts: Vec<_> = row.parts.iter().map(|words| words.join(" ")).collect();
        cells.push(vec![row.place.clone(), row.image.clone(), parts.join("  ")]);
    }
    let table = aligned(&[Align::Left; 3], &cells);
    match columns {
        Some(columns) if table.lines().any(|line| width(line) > columns) => {
            blocks(rows, columns, palette)
        }
        _ => {
            let lines = table.split_inclusive('\n').zip(rows);
            lines
                .map(|(line, row)| palette.paint(row.color, line))
                .collect()
        }
    }
}

/// Blocks for a terminal; each digest is on a separate line.
fn blocks(rows: &[Row], columns: usize, palette: Palette) -> String {
    let mut text = String::new();
    for row in rows {
        let mut lines = Vec::new();
        let head = format!("{}  {}", row.place, row.image);
        if width(&head) <= columns {
            lines.push(head);
        } else {
            lines.push(row.place.clone());
            lines.extend(indented(&row.image, 2, columns));
        }
        for words in &row.parts {
            lines.extend(indented_words(words.iter().map(String::as_str), 2, columns));
        }
        text += &palette.paint(row.color, &(lines.join("\n") + "\n"));
    }
    text
}

fn summary(config: &Config, found: &FoundPins, output: &Output) {
    let mut counts = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        let count = found.pins_of(index).count();
        counts.push(format!("{} {count} of {}", image.name, image.pins));
    }
    output.wrapped_note(&format!(
        "{}, pins: {}",
        counted(found.files.len(), "file"),
        counts.join(", ")
    ));
    for (path, hazard) in &found.hazards {
        output.note(&format!("warning: {}: {hazard}", plain(&path.to_string())));
    }
}
