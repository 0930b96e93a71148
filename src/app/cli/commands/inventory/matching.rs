//! `repin inventory match`: compares an existing listing with a contract.

use std::{
    io::{self, Read},
    path::Path,
};

use super::{report, subject};
use crate::{
    app::{
        cli::{context::Context, exit::Exit},
        report::json::InventoryImage,
    },
    base::{
        code::Code,
        error::{Class, Error, Errors},
        input_file,
    },
    contents::inventory::{Enumeration, Inventory},
    core::checks::{Check, ContractFile, Status, any_failed, contract},
};

/// The maximum size of a file, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

pub(super) fn run(enumeration: &Path, expected: &Path, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let directory = cx.services.environment.directory();
    let listing = read_listing(directory, enumeration);
    let image_name = match &listing {
        Ok(bytes) => Enumeration::image_name(bytes),
        Err(_) => None,
    };
    let image = image_name.and_then(|name| subject::configured(&name, &config));
    let inventory = subject::kinds(&config, image)?;
    let held = read_contract(directory, expected, inventory);
    let name = enumeration.display().to_string();
    let found = listing.and_then(|bytes| Enumeration::from_json(&name, &bytes, &inventory.kinds));
    let mut problems: Vec<Error> = held.contract.as_ref().err().cloned().unwrap_or_default();
    problems.extend(found.as_ref().err().cloned().unwrap_or_default());
    let mut checks = held.warnings.clone();
    for problem in &problems {
        checks.push(Check::new(problem.code, Status::Fail, problem.to_string()));
    }
    if let (Ok(contract), Ok(found)) = (&held.contract, &found) {
        checks.extend(contract::check(contract, found));
        let listed = [
            (Code::INVENTORY_MUST_CONTAIN_MISSING, &contract.must_contain),
            (
                Code::INVENTORY_MUST_NOT_CONTAIN_PRESENT,
                &contract.must_not_contain,
            ),
        ];
        for (code, names) in listed {
            if names.iter().any(|(_, names)| !names.is_empty())
                && checks.iter().all(|check| check.code != code)
            {
                checks.push(Check::new(
                    code,
                    Status::Pass,
                    "every name of the contract was compared",
                ));
            }
        }
    }
    let exit = if found.is_err() || held.malformed().next().is_some() {
        Exit::Failed(Class::Input)
    } else if any_failed(&checks) {
        Exit::Failed(Class::Failed)
    } else {
        Exit::Done
    };
    let image = InventoryImage {
        image: None,
        digest: None,
        platform: None,
        checks,
    };
    Ok(report(vec![image], problems, exit, &config, cx))
}

fn read_contract(directory: &Path, path: &Path, inventory: &Inventory) -> ContractFile {
    let name = path.display().to_string();
    match read(directory, path) {
        Ok(bytes) => ContractFile::parse(&name, bytes, Some(inventory)),
        Err(error) => ContractFile::not_found(&name, &error.to_string()),
    }
}

fn read_listing(directory: &Path, path: &Path) -> Result<Vec<u8>, Vec<Error>> {
    let name = path.display().to_string();
    let bytes = if path == Path::new("-") {
        read_all(io::stdin().lock())
    } else {
        read(directory, path)
    };
    bytes.map_err(|error| vec![Enumeration::not_found(&name, &error.to_string())])
}

fn read(directory: &Path, path: &Path) -> io::Result<Vec<u8>> {
    input_file::read(&directory.join(path), MAX_FILE)
}

fn read_all(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        Err(io::Error::other("larger than 64 MiB"))
    } else {
        Ok(bytes)
    }
}
