//! The layout of `src/`: folders from the ground up, imports that run one way
//! between files, and one part to a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folders, from the ground up. A file imports from its own folder and from
/// those before it.
const FOLDERS: [&str; 11] = [
    "sync", "value", "calendar", "timer", "registry", "job", "storage", "executor", "engine",
    "api", "testing",
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The path of each source file below `src/`, such as `job/phase.rs`, with its text
/// up to its unit tests.
fn sources() -> BTreeMap<String, String> {
    fn visit(dir: &Path, files: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, files);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.strip_prefix(src()).unwrap().to_str().unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                files.insert(name.into(), code.into());
            }
        }
    }
    let mut files = BTreeMap::new();
    visit(&src(), &mut files);
    files
}

fn folder(file: &str) -> &str {
    file.split('/').next().unwrap()
}

fn is_declaration(file: &str) -> bool {
    file == "lib.rs" || file.ends_with("mod.rs")
}

/// The lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && !line.is_empty())
}

/// The files of a folder, without those of its folders and its `mod.rs`.
fn files_in(folder: &str, files: &BTreeMap<String, String>) -> Vec<String> {
    let is_inside = |file: &&String| {
        let dir = file.rsplit_once('/').map(|(dir, _)| dir);
        dir == Some(folder) && !is_declaration(file)
    };
    files.keys().filter(is_inside).cloned().collect()
}

/// The files that a path such as `value::error::JobError` leads to: one file, or the
/// files of a folder whose `mod.rs` re-exports the name.
fn resolve(path: &str, files: &BTreeMap<String, String>) -> Vec<String> {
    let mut at = String::new();
    for segment in path.split("::") {
        if !at.is_empty() {
            at.push('/');
        }
        at.push_str(segment);
        let file = format!("{at}.rs");
        if files.contains_key(&file) {
            return vec![file];
        }
        if !files.contains_key(&format!("{at}/mod.rs")) {
            let parent = at.rsplit_once('/').map_or("", |(parent, _)| parent);
            return files_in(parent, files);
        }
    }
    // `use crate::value::error::{..}`
    files_in(&at, files)
}

/// What each file imports of ours.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let files = sources();
    let mut all = BTreeMap::new();
    for (file, text) in files.iter().filter(|(file, _)| !is_declaration(file)) {
        let mut found = BTreeSet::new();
        for line in code(text) {
            for rest in line.split("crate::").skip(1) {
                let path: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || "_:".contains(*c))
                    .collect();
                let path = path.trim_end_matches(':');
                // A path that begins with a capital is one of the crate's own root.
                if path.starts_with(char::is_lowercase) {
                    found.extend(resolve(path, &files));
                }
            }
        }
        found.remove(file);
        all.insert(file.clone(), found);
    }
    all
}

#[test]
fn every_file_is_in_one_of_the_folders() {
    for file in sources().keys().filter(|file| *file != "lib.rs") {
        assert!(
            FOLDERS.contains(&folder(file)),
            "`src/{file}` has no folder"
        );
    }
}

#[test]
fn a_file_imports_from_its_own_folder_and_from_those_below() {
    let height = |file: &str| FOLDERS.iter().position(|f| *f == folder(file));
    for (file, imports) in imports() {
        for import in &imports {
            assert!(
                height(import) <= height(&file),
                "`{file}` imports `{import}`, which is above it"
            );
        }
    }
}

#[test]
fn no_two_files_import_each_other_directly_or_through_others() {
    let imports = imports();
    // Removes the files that import none of those left, or that none of those left
    // imports, until there are no such files.
    let mut left: BTreeSet<&String> = imports.keys().collect();
    loop {
        let imported: BTreeSet<&String> = left.iter().flat_map(|file| &imports[*file]).collect();
        let free: Vec<&String> = left
            .iter()
            .filter(|file| {
                let imports_any = imports[**file].iter().any(|import| left.contains(import));
                !imports_any || !imported.contains(*file)
            })
            .copied()
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|file| !free.contains(file));
    }
    let in_circles: Vec<_> = left
        .iter()
        .map(|file| {
            let imports = imports[*file].iter().filter(|import| left.contains(import));
            format!(
                "{file} -> {imports:?}",
                imports = imports.collect::<Vec<_>>()
            )
        })
        .collect();
    assert!(
        in_circles.is_empty(),
        "in circles:\n{}",
        in_circles.join("\n")
    );
}

#[test]
fn a_mod_file_declares_and_re_exports_and_holds_nothing_else() {
    for (file, text) in sources()
        .iter()
        .filter(|(file, _)| file.ends_with("mod.rs"))
    {
        for statement in code(text).collect::<Vec<_>>().join(" ").split(';') {
            let statement = statement.trim();
            let without_attributes = statement.rsplit(']').next().unwrap().trim();
            let words: Vec<_> = without_attributes.split_whitespace().collect();
            let is_allowed = words.iter().any(|word| ["mod", "use"].contains(word));
            assert!(
                is_allowed || words.is_empty(),
                "`{file}` holds `{statement}`"
            );
        }
    }
}

#[test]
fn the_first_line_of_a_file_names_one_part() {
    for (file, text) in sources() {
        let first = text.lines().next().unwrap();
        assert!(
            first.starts_with("//! "),
            "`{file}` does not say what it is"
        );
        let is_one = is_declaration(&file) || !first.contains(" and ");
        assert!(is_one, "`{file}` is two parts: {first}");
    }
}

#[test]
fn only_the_api_names_the_default_executor() {
    for (file, text) in sources() {
        let names_it = code(&text).any(|line| line.contains("ThreadPool"));
        let may = ["lib.rs", "executor/thread_pool.rs"].contains(&file.as_str())
            || folder(&file) == "api";
        assert!(!names_it || may, "{file} names the thread pool");
    }
}
