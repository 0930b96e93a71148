//! `repin init --update`: counts the pins of an existing configuration again, and changes only the numbers
//! that differ.

use crate::{
    checks,
    cli::{
        context::Context,
        exit::Exit,
        format::Format,
        write_file::{self, TargetFile},
    },
    code::Code,
    config::{self, Config, number},
    error::{Class, Error, Errors, SourceText},
    git,
    pins::{self, Found},
    report::{
        diff,
        json::{InitDocument, InitImage},
    },
    untrusted::plain,
};

pub(super) fn run(print_only: bool, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let found = pins::find(&git::work_tree(&config), &config)?;
    refuse_malformed(&config, &found)?;
    let old = config.source.text.to_string();
    let new = with_current_counts(&config, &found);
    let source = SourceText {
        name: config.source.name.clone(),
        text: new.as_str().into(),
    };
    // Without any pin, the configuration would be invalid.
    config::parse(&source, &config.root, &config.set_path)?;
    let changed = old != new;
    if changed && !print_only {
        let file = config.root.join(config.file_name());
        let target = TargetFile::new(&file, cx.services.environment.directory())?;
        let name = plain(target.display_name());
        let step = cx
            .services
            .interruption
            .step(format!("{name} may have been written"));
        write_file::replace(&target, &old, &new)?;
        step.done(format!("{name} was written"));
    }
    report(&config, &found, &new, changed && !print_only, cx);
    Ok(Exit::Done)
}

/// Refuses malformed pins: they cannot be counted.
fn refuse_malformed(config: &Config, found: &Found) -> Result<(), Errors> {
    let mut errors = Vec::new();
    for check in checks::counts(config, found) {
        if check.status == checks::Status::Fail && check.code != Code::PIN_COUNT {
            errors.push(Error {
                help: check.help.clone(),
                ..Error::new(Class::Failed, check.code, check.describe())
            });
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Errors::from(errors))
    }
}

/// The text with the current counts; all other bytes are unchanged.
fn with_current_counts(config: &Config, found: &Found) -> String {
    let mut edits = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        let count = found.pins_of(index).count();
        if count != image.pins {
            edits.push((image.pins_at, count));
        }
    }
    // Edits start at the end of the text, so that the positions of the others remain valid.
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = config.source.text.to_string();
    for (span, count) in edits {
        text.replace_range(span.start..span.end, &count.to_string());
    }
    text
}

fn report(config: &Config, found: &Found, new: &str, written: bool, cx: &mut Context) {
    let old = &config.source.text;
    let diff = diff::of_file(
        config.file_name().as_bytes(),
        old.as_bytes(),
        new.as_bytes(),
    );
    let (mut images, mut differing) = (Vec::new(), 0);
    for (index, image) in config.images.iter().enumerate() {
        let pins = found.pins_of(index).count();
        if pins != image.pins {
            differing += 1;
        }
        images.push(InitImage {
            name: image.name.clone(),
            repository: image.repository.to_string(),
            pins,
        });
    }
    if cx.output.format == Format::Json {
        let files = config.files.included().into_iter();
        cx.output.print_json(&InitDocument {
            schema: "repin.init/1",
            path: config.source.name.clone(),
            written,
            images,
            files: files.map(|glob| glob.as_str().to_owned()).collect(),
            others: Vec::new(),
            warnings: Vec::new(),
            content: new.to_owned(),
            diff: (differing > 0).then(|| String::from_utf8_lossy(&diff).into_owned()),
        });
        return;
    }
    let path = plain(&config.source.name);
    if differing == 0 {
        cx.output
            .print(format!("{path}: every count is up to date\n"));
        return;
    }
    cx.output.print_diff(&diff, false);
    let counts = number(differing, "count");
    cx.output.note(&if written {
        format!("\nwrote {path}: {counts} changed; run `repin check`, then commit the file")
    } else {
        format!("\ndry run: {path} was not written; {counts} would change")
    });
}
