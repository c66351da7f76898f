//! Rules of the whole that no compiler checks.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of one file, tests included.
const LONGEST: usize = 500;

/// The crate that may name the GPU.
const GPU: &str = "crates/tensor";

/// A file, by its path from the root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Lines that are no comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.filter_map(|(i, line)| {
            let code = line.split("//").next().unwrap_or_default();
            (!code.trim().is_empty()).then_some((i + 1, code))
        })
    }

    /// Where code contains a word, as `path:line`.
    fn uses(&self, word: &str) -> Vec<String> {
        let hits = self.code().filter(|(_, code)| has_word(code, word));
        hits.map(|(line, _)| format!("{}:{line}", self.path))
            .collect()
    }
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(|w| w == word)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below these folders whose name ends so. Build outputs are left out.
fn files(folders: &[&str], end: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|f| root().join(f)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.ends_with("target") {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.is_file() && path.to_string_lossy().ends_with(end) {
            let text = fs::read_to_string(&path).unwrap();
            found.push(Source {
                path: relative(&path),
                text,
            });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).unwrap();
    path.to_string_lossy().replace('\\', "/")
}

/// All Rust of the workspace but this file, which names what it forbids.
fn rust() -> Vec<Source> {
    let folders = [
        "src", "crates", "shaders", "xtask", "examples", "benches", "tests",
    ];
    let mut sources = files(&folders, ".rs");
    sources.retain(|source| source.path != "tests/tidy.rs");
    // A workspace of its own, where Gradus stands beside libraries with other rules.
    sources.retain(|source| !source.path.starts_with("benches/peers/"));
    sources
}

/// The folder of each package, by its name, with what it depends on to build: not for its tests.
fn packages() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let manifests = files(&["Cargo.toml", "crates", "shaders", "xtask"], "Cargo.toml");
    manifests
        .iter()
        .map(|manifest| {
            let folder = manifest
                .path
                .trim_end_matches("Cargo.toml")
                .trim_end_matches('/');
            let (name, dependencies) = package(&manifest.text);
            (name, (folder.to_string(), dependencies))
        })
        .collect()
}

/// Name and dependencies in a manifest, which has one entry a line.
fn package(manifest: &str) -> (String, BTreeSet<String>) {
    let (mut section, mut name, mut dependencies) = ("", String::new(), BTreeSet::new());
    for line in manifest
        .lines()
        .map(str::trim)
        .filter(|l| !l.starts_with('#'))
    {
        if line.starts_with('[') {
            section = line;
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim().split('.').next().unwrap_or_default();
            let built = ["[dependencies]", "[build-dependencies]"].contains(&section)
                || section.starts_with("[target.") && section.ends_with(".dependencies]");
            if section == "[package]" && key == "name" {
                name = value.trim().trim_matches('"').to_string();
            } else if built {
                dependencies.insert(key.to_string());
            }
        }
    }
    (name, dependencies)
}

/// Packages of the project that this one needs, itself included.
fn closure(of: &str) -> BTreeSet<String> {
    let packages = packages();
    let (mut found, mut open) = (BTreeSet::new(), vec![of.to_string()]);
    while let Some(name) = open.pop() {
        let Some((_, dependencies)) = packages.get(&name) else {
            continue;
        };
        if found.insert(name) {
            open.extend(dependencies.iter().cloned());
        }
    }
    found
}

#[test]
fn graph_depends_on_no_other_package_of_the_project() {
    assert_eq!(
        closure("gradus-graph"),
        BTreeSet::from(["gradus-graph".to_string()])
    );
}

#[test]
fn layers_and_graphs_build_without_gpu_code() {
    for name in ["gradus-graph", "gradus-nn", "gradus-data", "gradus-cpu"] {
        let needs = closure(name);
        assert!(!needs.is_empty(), "no package {name}");
        for gpu in ["gradus-tensor", "gradus-shaders"] {
            assert!(!needs.contains(gpu), "{name} needs {gpu}");
        }
    }
}

#[test]
fn one_crate_names_the_gpu() {
    for (name, (folder, dependencies)) in packages() {
        let gpu = ["wgpu", "wgpu-core", "wgpu-hal", "wgpu-types", "naga", "ash"];
        let found: Vec<_> = gpu.iter().filter(|g| dependencies.contains(**g)).collect();
        assert!(
            folder == GPU || folder == "shaders" || found.is_empty(),
            "{name}: {found:?}"
        );
        assert!(
            folder == GPU || !dependencies.contains("wgpu"),
            "{name} depends on wgpu"
        );
    }
    for source in rust().iter().filter(|s| !s.path.starts_with(GPU)) {
        // Others name its types through the re-export.
        if source.text.contains("use gradus::wgpu;") {
            continue;
        }
        for (line, code) in source.code() {
            let rest = code
                .replace("gradus_tensor::wgpu", "")
                .replace("gradus::wgpu", "");
            let path = &source.path;
            assert!(!rest.contains("wgpu::"), "{path}:{line} names wgpu");
        }
    }
}

#[test]
fn unsafe_code_stands_in_two_places() {
    let mut in_cpu = BTreeSet::new();
    for source in rust() {
        let found = source.uses("unsafe");
        if source.path.starts_with("crates/cpu/src/") && !found.is_empty() {
            in_cpu.insert(source.path);
        } else {
            assert!(
                source.path.starts_with(GPU) || found.is_empty(),
                "unsafe at {found:?}"
            );
        }
    }
    assert!(
        in_cpu.len() <= 1,
        "unsafe in more than one file: {in_cpu:?}"
    );
}

#[test]
fn other_crates_forbid_unsafe_code() {
    for source in rust().iter().filter(|s| s.path.ends_with("src/lib.rs")) {
        let may = source.path.starts_with(GPU) || source.path.starts_with("crates/cpu/");
        let forbids = source.text.contains("#![forbid(unsafe_code)]");
        assert!(
            may || forbids,
            "{}: add #![forbid(unsafe_code)]",
            source.path
        );
    }
}

#[test]
fn packages_take_the_lints_of_the_workspace() {
    for manifest in files(&["Cargo.toml", "crates", "shaders", "xtask"], "Cargo.toml") {
        let takes = manifest.text.contains("[lints]\nworkspace = true");
        assert!(takes, "{}: add [lints] workspace = true", manifest.path);
    }
}

#[test]
fn every_variable_is_described() {
    let page = fs::read_to_string(root().join("docs/env.md")).unwrap();
    let described = variables(&page);
    let mut used = BTreeSet::new();
    let mut sources = rust();
    sources.extend(files(&[".ci", "README.md"], ""));
    for source in &sources {
        for name in variables(&source.text) {
            assert!(
                described.contains(&name),
                "docs/env.md lacks {name} of {}",
                source.path
            );
            used.insert(name);
        }
    }
    let stale: Vec<_> = described.difference(&used).collect();
    assert!(
        stale.is_empty(),
        "docs/env.md describes {stale:?}, which nothing reads"
    );
}

/// The names of environment variables in a text.
fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    let own = words.filter(|w| {
        w.strip_prefix("GRADUS_")
            .is_some_and(|rest| !rest.is_empty())
    });
    own.map(str::to_string).collect()
}

#[test]
fn files_are_short() {
    for source in rust() {
        let lines = source.text.lines().count();
        assert!(
            lines <= LONGEST,
            "{} has {lines} lines, more than {LONGEST}",
            source.path
        );
    }
}

#[test]
fn files_are_named_for_what_they_hold() {
    for source in rust() {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        let vague = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs"];
        assert!(!vague.contains(&name), "{}: say what it holds", source.path);
    }
}

/// The order of a hash map differs from run to run, and with it the order of sums.
#[test]
fn no_order_comes_from_a_hash_map() {
    let crates = [
        "crates/graph/src/",
        "crates/nn/src/",
        "crates/cpu/src/",
        "crates/train/src/",
    ];
    for source in rust()
        .iter()
        .filter(|s| crates.iter().any(|c| s.path.starts_with(c)))
    {
        for word in ["HashMap", "HashSet"] {
            let found = source.uses(word);
            assert!(found.is_empty(), "{word} at {found:?}: use a BTree");
        }
    }
}

#[test]
fn the_architecture_is_read_in_one_sitting() {
    let lines = fs::read_to_string(root().join("ARCHITECTURE.md"))
        .unwrap()
        .lines()
        .count();
    assert!(
        lines <= 200,
        "ARCHITECTURE.md has {lines} lines, more than 200"
    );
}

/// The program that people see first is the example that they can run, and short.
#[test]
fn the_readme_begins_with_an_example() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme.split("```rust\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let example = fs::read_to_string(root().join("examples/digits.rs")).unwrap();
    let code: Vec<&str> = example
        .lines()
        .filter(|l| !l.starts_with("//") && !l.starts_with("#!"))
        .collect();
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(squeezed(shown), squeezed(&code.join(" ")));
    assert!(shown.lines().count() <= 35, "the first program is too long");
}

/// Files that the architecture names are there: `plan/merge.rs` is a part of some path.
#[test]
fn the_architecture_names_files_that_exist() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources = files(
        &["src", "crates", "shaders", "xtask", "benches", "tests"],
        ".rs",
    );
    let quoted = page.split('`').skip(1).step_by(2);
    for name in quoted.filter(|name| name.ends_with(".rs")) {
        let exists = sources.iter().any(|source| {
            let mut parts = source.path.split('/');
            let mut wanted = name.split('/').filter(|part| *part != "…");
            wanted.all(|part| parts.any(|p| p == part)) && parts.next().is_none()
        });
        assert!(exists, "ARCHITECTURE.md names {name}, which is nowhere");
    }
}
