//! Records the commit and the target of the build, for `repin --version`, and turns `src/base/codes.yaml`
//! into the constants and the table of `src/base/error.rs`.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

#[path = "build/codes.rs"]
mod codes;
#[path = "build/commit.rs"]
mod commit;

fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));

    println!("cargo::rerun-if-env-changed=REPIN_COMMIT");
    for file in ["build.rs", "build", codes::CODES] {
        println!("cargo::rerun-if-changed={file}");
    }

    let release = variable("PROFILE") == "release";
    let built = commit::built_from(&root, &variable("REPIN_COMMIT"), release);
    for input in built.inputs {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    println!("cargo::rustc-env=REPIN_BUILD_COMMIT={}", built.commit);
    println!("cargo::rustc-env=REPIN_BUILD_TARGET={}", variable("TARGET"));

    let list = fs::read_to_string(root.join(codes::CODES))?;
    let generated = codes::codes(&list)?;
    fs::write(Path::new(&variable("OUT_DIR")).join("codes.rs"), generated)?;
    Ok(())
}
