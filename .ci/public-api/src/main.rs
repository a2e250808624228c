//! The public items of the library, with all features, as `docs/public-api.txt`.
//!
//! ```sh
//! cargo run --manifest-path .ci/public-api/Cargo.toml            # writes the file
//! cargo run --manifest-path .ci/public-api/Cargo.toml -- --check # compares it
//! ```
//!
//! The exit code is 1 if the file differs, and 3 if this toolchain's rustdoc writes another
//! format than the one that is read here.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const RENEW: &str = "cargo run --manifest-path .ci/public-api/Cargo.toml";

/// Marker traits that are not stable, and of which rustdoc writes the implementations.
const UNSTABLE: [&str; 3] = ["Freeze", "UnsafeUnpin", "StructuralPartialEq"];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let is_check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => return Err(format!("`{other}` is not `--check`").into()),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let json = rustdoc_json(&root)?;
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json)?)?;
    let format = value["format_version"].as_u64();
    if format != Some(rustdoc_types::FORMAT_VERSION.into()) {
        eprintln!(
            "rustdoc's JSON has format {format:?} instead of {}",
            rustdoc_types::FORMAT_VERSION
        );
        return Ok(ExitCode::from(3));
    }
    let items = items(&json)?;
    let file = root.join("docs/public-api.txt");
    if !is_check {
        fs::write(file, items)?;
        return Ok(ExitCode::SUCCESS);
    }
    let snapshot = fs::read_to_string(file).unwrap_or_default();
    if snapshot == items {
        return Ok(ExitCode::SUCCESS);
    }
    let (old, new): (BTreeSet<_>, BTreeSet<_>) =
        (snapshot.lines().collect(), items.lines().collect());
    snapshot
        .lines()
        .filter(|line| !new.contains(line))
        .for_each(|line| eprintln!("- {line}"));
    items
        .lines()
        .filter(|line| !old.contains(line))
        .for_each(|line| eprintln!("+ {line}"));
    eprintln!("The public API is not that of docs/public-api.txt. If it should change: {RENEW}");
    Ok(ExitCode::FAILURE)
}

/// The path of what rustdoc says about the library in JSON, a format that is not stable.
fn rustdoc_json(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = root.join("target/public-api");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "rustdoc",
            "--quiet",
            "--locked",
            "--lib",
            "--all-features",
            "--target-dir",
        ])
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .current_dir(root)
        .env("RUSTC_BOOTSTRAP", "1")
        .status()?;
    if !status.success() {
        return Err("cargo rustdoc has failed".into());
    }
    Ok(target.join("doc/jobber.json"))
}

/// A line for each item. Implementations for all types are left out.
fn items(json: &Path) -> Result<String, Box<dyn Error>> {
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .build()?;
    let is_stable = |line: &&str| {
        !UNSTABLE
            .iter()
            .any(|name| line.contains(&format!("core::marker::{name} for ")))
    };
    let text = api.to_string();
    Ok(text
        .lines()
        .filter(is_stable)
        .map(|line| format!("{line}\n"))
        .collect())
}
