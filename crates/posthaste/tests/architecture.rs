//! Holds the tree to its rules: which crate may use which, who may touch which library, where SQL lives, sizes, docs.
//!
//! The rules are those of ARCHITECTURE.md; a change of one is a change of both.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the tree has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Crate → the crates of ours that it may depend on. Dependencies point one way: down this list's right-hand sides.
const MAY_USE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("stack", &[]),
    ("schema", &["types"]),
    ("api", &["types"]),
    ("runtime", &["types"]),
    ("store", &["types", "schema", "runtime"]),
    ("broker", &["types", "schema", "runtime"]),
    ("http", &["types", "api", "runtime"]),
    ("access", &["types", "api", "runtime", "store", "http"]),
    ("client", &["types", "api"]),
    ("ingest", &["types", "schema", "api", "runtime", "store", "http"]),
    (
        "connector",
        &["types", "api", "runtime", "store", "broker", "http"],
    ),
    ("worker", &["types", "schema", "runtime", "store", "broker"]),
    ("scheduler", &["types", "schema", "runtime", "store"]),
    (
        "delivery",
        &["types", "schema", "api", "runtime", "store", "broker", "http"],
    ),
    ("bench", &[]),
];

/// Library → the crates that may use it directly.
const WHO_USES: &[(&str, &[&str])] = &[
    ("rdkafka", &["broker"]),
    ("schema_registry_converter", &["broker"]),
    ("tokio-postgres", &["store"]),
    ("deadpool-postgres", &["store"]),
    ("pgwire-replication", &["connector"]),
    ("apache-avro", &["schema"]),
    ("warp", &["http", "access", "ingest", "connector", "delivery"]),
    ("hyper", &["http"]),
    ("hyper-util", &["http"]),
    ("utoipa", &["api"]),
    ("clap", &["posthaste", "bench"]),
    ("metrics-exporter-prometheus", &["runtime"]),
];

/// The roles: they share nothing but the database and the broker, so not even their tests use one another.
const ROLES: &[&str] = &["ingest", "connector", "worker", "scheduler", "delivery"];

const FILE_LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Folder name → its manifest.
fn manifests() -> BTreeMap<String, toml::Table> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.push(root().join("bench"));
    folders.push(root().join("integration-tests"));
    folders
        .into_iter()
        .filter(|folder| folder.join("Cargo.toml").exists())
        .map(|folder| {
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            (
                name,
                fs::read_to_string(folder.join("Cargo.toml"))
                    .unwrap()
                    .parse()
                    .unwrap(),
            )
        })
        .collect()
}

fn dependencies(manifest: &toml::Table, section: &str) -> Vec<String> {
    manifest
        .get(section)
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn ours(dependencies: Vec<String>) -> impl Iterator<Item = String> {
    dependencies
        .into_iter()
        .filter_map(|name| name.strip_prefix("posthaste-").map(str::to_owned))
}

fn files(extension: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|end| end == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["crates", "bench", "integration-tests"] {
        walk(&root().join(folder), extension, &mut found);
    }
    found
}

fn assert_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn crates_depend_only_on_what_the_map_allows() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut offences = Vec::new();
    for (name, manifest) in manifests() {
        // The executable wires everything; the scenarios drive it from outside.
        if name == "posthaste" || name == "integration-tests" {
            continue;
        }
        let Some(allowed) = allowed.get(name.as_str()) else {
            offences.push(format!("{name} is not in the map: say what it may use"));
            continue;
        };
        for used in ours(dependencies(&manifest, "dependencies")) {
            if !allowed.contains(&used.as_str()) {
                offences.push(format!("{name} uses {used}"));
            }
        }
    }
    assert_none("a crate may use only what the map says", &offences);
}

#[test]
fn roles_do_not_import_one_another_even_in_tests() {
    let mut offences = Vec::new();
    for (name, manifest) in manifests()
        .into_iter()
        .filter(|(name, _)| ROLES.contains(&name.as_str()))
    {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let used = ours(dependencies(&manifest, section)).filter(|used| ROLES.contains(&used.as_str()));
            offences.extend(used.map(|used| format!("{name} uses {used} in {section}")));
        }
    }
    assert_none("roles share nothing but Postgres and Kafka", &offences);
}

#[test]
fn libraries_are_used_only_in_their_own_rooms() {
    let owners: BTreeMap<&str, &[&str]> = WHO_USES.iter().copied().collect();
    let mut offences = Vec::new();
    for (name, manifest) in manifests() {
        for library in dependencies(&manifest, "dependencies") {
            if owners
                .get(library.as_str())
                .is_some_and(|owners| !owners.contains(&name.as_str()))
            {
                offences.push(format!("{name} uses {library}"));
            }
        }
    }
    assert_none("a library may be used only where the map says", &offences);
}

#[test]
fn sql_lives_in_the_store() {
    let store = root().join("crates/store");
    let mut offences = Vec::new();
    for path in files("rs") {
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        if path.starts_with(&store) || is_test || path.starts_with(root().join("integration-tests")) {
            continue;
        }
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let line = line.trim_start().to_ascii_lowercase();
            let is_sql = ["select ", "insert into ", "update ", "delete from "]
                .iter()
                .any(|verb| {
                    line.trim_start_matches(['"', 'r', '#']).starts_with(verb) && line.contains("posthaste.")
                });
            if is_sql {
                offences.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert_none("SQL lives in crates/store", &offences);
}

#[test]
fn source_files_are_small_and_say_what_they_are_for() {
    let mut offences = Vec::new();
    for path in files("rs") {
        let text = fs::read_to_string(&path).unwrap();
        let line_count = text.lines().count();
        if line_count > FILE_LINES_MAX {
            offences.push(format!(
                "{} has {line_count} lines, more than {FILE_LINES_MAX}",
                path.display()
            ));
        }
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//!") && !first.starts_with("#![doc") {
            offences.push(format!("{} does not begin with //!", path.display()));
        }
    }
    assert_none("a file has one subject and says which", &offences);
}

#[test]
fn every_crate_has_a_readme_and_the_workspace_lints() {
    let mut offences = Vec::new();
    for (name, manifest) in manifests() {
        let folder = match name.as_str() {
            "bench" | "integration-tests" => root().join(&name),
            _ => root().join("crates").join(&name),
        };
        if !folder.join("README.md").exists() {
            offences.push(format!("{name} has no README.md"));
        }
        let lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        if lints != Some(true) {
            offences.push(format!("{name} does not take the workspace's lints"));
        }
    }
    assert_none("every crate is documented and linted", &offences);
}

#[test]
fn failure_table_names_tests_that_exist() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources: String = files("rs")
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let table = document
        .split("## If it dies here")
        .nth(1)
        .expect("the failure table's heading");
    let table = table.split("\n## ").next().unwrap();
    let mut offences = Vec::new();
    let mut row_count = 0;
    for row in table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .skip(1)
    {
        row_count += 1;
        let last = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            offences.push(format!("no test named in: {row}"));
        }
        offences.extend(
            names
                .iter()
                .filter(|name| !sources.contains(&format!("fn {name}(")))
                .map(|name| format!("no test {name}")),
        );
    }
    assert!(row_count > 5, "the failure table has {row_count} rows");
    assert_none("each row of the failure table names tests that exist", &offences);
}
