//! The words of the project: those in `docs/retired-words.txt` do not come back, and what
//! the pages name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What is searched, in `.rs` and `.md` files.
const SEARCHED: [&str; 10] = [
    "src",
    "tests",
    "benches",
    "examples",
    "fuzz/src",
    "docs",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether this is the published package, which leaves out some folders.
fn is_package() -> bool {
    !root().join(".ci").exists()
}

/// Whether the published package leaves out this path (see `exclude` in `Cargo.toml`).
fn is_left_out(path: &str) -> bool {
    let left_out = [
        ".ci/",
        "fuzz/",
        "benches/peers",
        "examples/web_service",
        "examples/tokio",
    ];
    left_out.iter().any(|folder| path.starts_with(folder))
}

fn read(file: impl AsRef<Path>) -> String {
    let path = root().join(&file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below `path`, relative to the root, sorted.
fn files(path: &Path) -> Vec<PathBuf> {
    let full = root().join(path);
    if full.is_file() {
        return vec![path.into()];
    }
    let mut entries: Vec<_> = fs::read_dir(&full)
        .unwrap_or_else(|error| panic!("{}: {error}", full.display()))
        .map(|entry| path.join(entry.unwrap().file_name()))
        .collect();
    entries.sort();
    let is_built = |path: &Path| path.ends_with("target");
    entries
        .iter()
        .filter(|path| !is_built(path))
        .flat_map(|path| files(path))
        .filter(|path| {
            path.extension()
                .is_some_and(|ext| ext == "rs" || ext == "md")
        })
        .collect()
}

/// The lines of one section of the list.
fn section<'a>(list: &'a str, name: &str) -> Vec<&'a str> {
    list.lines()
        .skip_while(|line| *line != format!("[{name}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `needle` stands in `text` as whole words.
fn occurrences<'a>(text: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(needle).map(|(at, _)| at).filter(|at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + needle.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// A line without its comment signs.
fn plain(line: &str) -> &str {
    let line = line.trim_start();
    let signs = ["//!", "///", "//"];
    let comment = signs.iter().find_map(|signs| line.strip_prefix(signs));
    comment.unwrap_or(line).trim()
}

/// The retired words of a text, each with the number of its line.
fn hits<'a>(text: &str, list: &'a str) -> Vec<(usize, &'a str)> {
    let (identifiers, phrases) = (section(list, "identifiers"), section(list, "phrases"));
    let allowed = section(list, "allowed");
    let lines: Vec<&str> = text.lines().map(plain).collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let retired = identifiers
            .iter()
            .filter(|word| occurrences(line, word).next().is_some());
        found.extend(retired.map(|word| (index + 1, *word)));
        // A phrase may go on in the next line.
        let next = lines.get(index + 1).copied().unwrap_or_default();
        let mut both = format!("{line} {next}").to_lowercase();
        for phrase in &allowed {
            both = both.replace(phrase, &"·".repeat(phrase.len()));
        }
        let begins_here = |at: usize| both[..at].chars().count() < line.chars().count();
        let retired = phrases
            .iter()
            .filter(|phrase| occurrences(&both, phrase).any(begins_here));
        found.extend(retired.map(|phrase| (index + 1, *phrase)));
    }
    found
}

#[test]
fn no_retired_word_comes_back() {
    let list = read("docs/retired-words.txt");
    let mut found = Vec::new();
    let searched = SEARCHED.into_iter();
    for path in searched.filter(|path| !(is_package() && is_left_out(path))) {
        for file in files(Path::new(path)) {
            if file.ends_with("tests/words.rs") {
                continue;
            }
            let of_file = hits(&read(&file), &list);
            let shown = |(line, word): (usize, &str)| format!("{}:{line}: {word}", file.display());
            found.extend(of_file.into_iter().map(shown));
        }
    }
    assert!(
        found.is_empty(),
        "retired words, see docs/retired-words.txt:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_retired_word_is_found_whole_in_its_case_and_across_lines() {
    let list = "[identifiers]\nTock\n[phrases]\nis no\nwhoever\n[allowed]\nthere is no\n";
    let found = |text| hits(text, list);
    assert_eq!(found("fn f() -> Tock {}"), [(1, "Tock")]);
    assert_eq!(found("a tock, Tocks, Tock_1"), []);
    assert_eq!(found("/// One.\n/// Whoever comes."), [(2, "whoever")]);
    assert_eq!(found("    /// that is\n    /// no bird"), [(1, "is no")]);
    assert_eq!(found("There is no bird, and this now is nothing."), []);
}

#[test]
fn the_files_that_the_pages_name_exist() {
    let mut pages = vec![
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "src/lib.rs",
    ];
    let docs = [
        "docs/cron.md",
        "docs/durability.md",
        "docs/reliability.md",
        "docs/speed.md",
    ];
    pages.extend(docs);
    let mut missing = Vec::new();
    for page in pages {
        let text = read(page);
        // What stands between backticks, or in the brackets of a link.
        for named in text.split(['`', '(', ')']) {
            // A link may lead to a section.
            let named = named.split('#').next().unwrap();
            let folders = [
                "src/",
                "tests/",
                "docs/",
                "benches/",
                "examples/",
                "fuzz/",
                ".ci/",
            ];
            let is_path = folders.iter().any(|folder| named.starts_with(folder))
                && !named.contains(|c: char| c.is_whitespace() || c == '*');
            let is_here = root().join(named).exists() || (is_package() && is_left_out(named));
            if is_path && !is_here {
                missing.push(format!("{page}: {named}"));
            }
        }
    }
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
}

/// The moves of the table in the unit tests of `src/job/phase.rs`: phase, phase after,
/// event.
fn moves_in_the_code() -> BTreeSet<(String, String, String)> {
    let source = read("src/job/phase.rs");
    let table = source.split("const TABLE: &str = \"").nth(1).unwrap();
    let table = table.split("\";").next().unwrap();
    let phases = [
        "Waiting",
        "Ready",
        "Starting",
        "Running",
        "Cancelling",
        "Ended",
    ];
    let named = |letter: char| match letter {
        'W' => "Waiting",
        'R' => "Ready",
        'S' => "Starting",
        'A' => "Running",
        'C' => "Cancelling",
        'E' => "Ended",
        _ => panic!("`{letter}` is not the letter of a phase"),
    };
    let mut moves = BTreeSet::new();
    for row in table.lines().filter(|line| !line.trim().is_empty()) {
        let mut columns = row.split_whitespace();
        let event = columns.next().unwrap();
        for (phase, column) in phases.iter().zip(columns) {
            if column != "-" {
                let after = named(column.chars().next().unwrap());
                moves.insert((phase.to_string(), after.into(), event.into()));
            }
        }
    }
    moves
}

#[test]
fn the_diagram_of_the_phases_is_the_table_in_the_code() {
    let page = read("ARCHITECTURE.md");
    let diagram = page.split("stateDiagram-v2").nth(1).unwrap();
    let diagram = diagram.split("```").next().unwrap();
    let mut moves = BTreeSet::new();
    for line in diagram.lines().filter(|line| !line.contains("[*]")) {
        let Some((phases, events)) = line.split_once(": ") else {
            continue;
        };
        let (phase, after) = phases.trim().split_once(" --> ").unwrap();
        for event in events.split(", ") {
            moves.insert((phase.into(), after.into(), event.into()));
        }
    }
    let table = moves_in_the_code();
    assert!(table.len() > 30, "the table was not found");
    let only_in = |one: &BTreeSet<_>, other: &BTreeSet<_>| {
        let missing: Vec<_> = one.difference(other).cloned().collect();
        missing
    };
    assert_eq!(only_in(&table, &moves), [], "missing in the diagram");
    assert_eq!(only_in(&moves, &table), [], "not in the table");
}
