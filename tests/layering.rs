//! Imports only go down: each module may use those that stand before it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The floors, from the ground up. Within a floor, too, a module may use only
/// those before it, so that no two can use each other.
const FLOORS: &[(&str, &[&str])] = &[
    (
        "0: imports nothing of ours but this floor",
        &[
            "checked", "sync", "id", "error", "status", "clock", "stamp", "panics", "waking",
            "waiter",
        ],
    ),
    (
        "1: pure, no threads",
        &[
            "zone",
            "cron",
            "trigger",
            "record",
            "codec",
            "retry",
            "timer_queue",
            "table",
            "stop",
            "state",
            "outcome",
            "progress",
        ],
    ),
    (
        "2: contracts and the handle",
        &["execution", "events", "job", "storage", "executor"],
    ),
    (
        "3: running one attempt",
        &["context", "handler", "writer", "hub", "run"],
    ),
    ("4: threads", &["driver"]),
    ("5: façade", &["schedule", "task", "jobber"]),
    ("test kit", &["testing"]),
];

fn sources(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
}

/// The top module of a file: `src/executor/thread_pool.rs` belongs to `executor`.
fn module_of(file: &Path, src: &Path) -> String {
    let path = file.strip_prefix(src).unwrap().with_extension("");
    path.iter().next().unwrap().to_str().unwrap().to_string()
}

/// What the code of a file imports of ours: each `crate::module` before its
/// tests.
fn imports(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

fn all_imports() -> BTreeMap<String, BTreeSet<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.ends_with("lib.rs")) {
        all.entry(module_of(file, &src))
            .or_default()
            .extend(imports(file));
    }
    all
}

#[test]
fn every_module_has_its_floor() {
    let floors: BTreeSet<&str> = FLOORS
        .iter()
        .flat_map(|(_, modules)| *modules)
        .copied()
        .collect();
    for module in all_imports().keys() {
        assert!(
            floors.contains(module.as_str()),
            "`{module}` stands on no floor: give it one in tests/layering.rs"
        );
    }
}

#[test]
fn imports_only_go_down() {
    let order: Vec<&str> = FLOORS
        .iter()
        .flat_map(|(_, modules)| *modules)
        .copied()
        .collect();
    let height = |module: &str| order.iter().position(|m| *m == module);
    for (module, imports) in all_imports() {
        for import in imports.iter().filter(|import| **import != module) {
            let is_down = height(import) < height(&module);
            assert!(is_down, "`{module}` uses `{import}`, which is not below it");
        }
    }
}

#[test]
fn only_the_facade_names_the_default_executor() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files {
        let name = file.strip_prefix(&src).unwrap().display().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        let names_it = text.lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//") && line.contains("ThreadPool")
        });
        let may = ["lib.rs", "jobber.rs", "executor/thread_pool.rs"].contains(&name.as_str());
        assert!(!names_it || may, "{name} names the thread pool");
    }
}
