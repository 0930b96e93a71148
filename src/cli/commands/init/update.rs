//! `repin init --update`: count the pins of an existing configuration again, and change only the
//! numbers that differ.

use crate::{
    checks,
    cli::{
        context::Context,
        exit::Exit,
        format::Format,
        write::{self, Target},
    },
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
    let new = counted(&config, &found);
    let source = SourceText {
        name: config.source.name.clone(),
        text: new.as_str().into(),
    };
    // Such as a set of which nothing is pinned any more.
    config::parse(&source, &config.root)?;
    let changed = old != new;
    if changed && !print_only {
        let file = config.root.join(config.file_name());
        let target = Target::new(&file, cx.services.environment.directory())?;
        let step = cx
            .services
            .interruption
            .step(format!("{} may have been written", plain(target.shown())));
        write::exchange(&target, &old, &new)?;
        step.done(format!("{} was written", plain(target.shown())));
    }
    report(&config, &found, &new, changed && !print_only, cx);
    Ok(Exit::Done)
}

/// A digest that is malformed is neither a pin nor none, so no count would be true.
fn refuse_malformed(config: &Config, found: &Found) -> Result<(), Errors> {
    let failed = checks::counts(config, found).into_iter().filter(|check| {
        check.status == checks::Status::Fail && check.code != crate::code::Code::PIN_COUNT
    });
    let errors: Vec<_> = failed
        .map(|check| Error {
            help: check.help.clone(),
            ..Error::new(Class::Failed, check.code, check.describe())
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Errors::from(errors))
    }
}

/// The text with the number of pins that each image has now; every other byte stays.
fn counted(config: &Config, found: &Found) -> String {
    let mut edits: Vec<_> = config
        .images
        .iter()
        .enumerate()
        .map(|(at, image)| (image.pins_at, image.pins, found.pins_of(at).count()))
        .filter(|(_, declared, found)| declared != found)
        .collect();
    // From the last to the first, so that the places stay true.
    edits.sort_by_key(|(span, ..)| std::cmp::Reverse(span.start));
    let mut text = config.source.text.to_string();
    for (span, _, found) in edits {
        text.replace_range(span.start..span.end, &found.to_string());
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
    let images = config.images.iter().enumerate();
    let images: Vec<_> = images
        .map(|(at, image)| InitImage {
            name: image.name.clone(),
            repository: image.repository.to_string(),
            pins: found.pins_of(at).count(),
        })
        .collect();
    let differing = images.iter().zip(&config.images);
    let differing = differing.filter(|(image, declared)| image.pins != declared.pins);
    let differing = differing.count();
    if cx.output.format == Format::Json {
        let files = config.files.included().into_iter();
        cx.output.json(&InitDocument {
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
