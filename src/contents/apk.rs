//! The packages in apk's database, `installed`.

use std::collections::BTreeSet;

use super::{Package, PackageList, files, layers::Tree, set_once};

/// apk 3 moved the database, and left a link if `/lib` is not a link itself.
const PATHS: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

/// The packages; `None` if the image has no database.
pub(super) fn read(tree: &Tree) -> Option<Result<BTreeSet<Package>, String>> {
    let found = match files::only_file(tree, &PATHS.map(str::to_owned)) {
        Ok(found) => found?,
        Err(reason) => return Some(Err(reason)),
    };
    Some(files::content(&found).and_then(|content| {
        packages(content)
            .map_err(|reason| format!("{} is malformed: {reason}", files::display(&found)))
    }))
}

#[derive(Default)]
struct Record {
    name: Option<String>,
    version: Option<String>,
    architecture: Option<String>,
    is_started: bool,
}

/// The packages in the content of a database: lines `LETTER:VALUE`, and an empty line after each
/// package.
pub(crate) fn packages(content: &[u8]) -> Result<BTreeSet<Package>, String> {
    let mut list = PackageList::default();
    let mut record = Record::default();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let at_line = |reason: String| format!("line {}: {reason}", index + 1);
        if line.is_empty() {
            add_package(&mut list, std::mem::take(&mut record)).map_err(at_line)?;
            continue;
        }
        record.is_started = true;
        let [letter, b':', value @ ..] = line else {
            return Err(at_line("expected `LETTER:VALUE`".to_owned()));
        };
        match letter {
            b'P' => set_once(&mut record.name, "P", value),
            b'V' => set_once(&mut record.version, "V", value),
            b'A' => set_once(&mut record.architecture, "A", value),
            _ => Ok(()),
        }
        .map_err(at_line)?;
    }
    add_package(&mut list, record)?;
    Ok(list.0)
}

fn add_package(list: &mut PackageList, record: Record) -> Result<(), String> {
    if !record.is_started {
        return Ok(());
    }
    list.push(Package {
        name: record.name.ok_or("the name (P) of a package is missing")?,
        version: record
            .version
            .ok_or("the version (V) of a package is missing")?,
        architecture: record.architecture,
    })
}
