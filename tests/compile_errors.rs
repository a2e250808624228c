//! Compile errors that name the mistake. Each program of `compile_errors/` has one mistake; the
//! comment at its top lists texts that the error of rustc must have. The rest of the error may
//! change with rustc.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Compiles all programs, and returns what rustc says to each.
fn errors() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_errors");
    let bins = package.join("src/bin");
    if bins.exists() {
        fs::remove_dir_all(&bins).unwrap();
    }
    fs::create_dir_all(&bins).unwrap();
    let mut errors = BTreeMap::new();
    for program in fs::read_dir(root.join("tests/compile_errors")).unwrap() {
        let program = program.unwrap().path();
        fs::copy(&program, bins.join(program.file_name().unwrap())).unwrap();
        let name = program.file_stem().unwrap().to_str().unwrap();
        errors.insert(name.to_owned(), String::new());
    }
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let manifest = format!(
        "[package]\nname = \"compile_errors\"\nedition = \"2024\"\n\n[dependencies]\n\
         jobber-rs = {{ path = {root:?}, default-features = false }}\n\n[workspace]\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--bins", "--keep-going"])
        .arg("--message-format=json")
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("could not compile `compile_errors`"), "{log}");
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["message"]["level"] != "error" {
            continue;
        }
        let error = line["message"]["rendered"].as_str().unwrap();
        let program = errors.get_mut(line["target"]["name"].as_str().unwrap());
        program.unwrap_or_else(|| panic!("{error}")).push_str(error);
    }
    errors
}

#[test]
fn a_compile_error_names_the_mistake() {
    let mut errors = errors();
    assert_eq!(errors.remove("no_mistake").as_deref(), Some(""));
    for (program, error) in errors {
        let path = format!(
            "{}/tests/compile_errors/{program}.rs",
            env!("CARGO_MANIFEST_DIR")
        );
        let source = fs::read_to_string(path).unwrap();
        let texts: Vec<_> = source
            .lines()
            .map_while(|line| line.strip_prefix("// "))
            .collect();
        assert!(!texts.is_empty(), "{program} names no text");
        for text in texts {
            assert!(error.contains(text), "{program} lacks `{text}`:\n{error}");
        }
    }
}
