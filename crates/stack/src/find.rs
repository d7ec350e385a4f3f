//! Finds programs: on the search path and in the places where packages put what they keep off it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::command;

const POSTGRES_MAJOR_MIN: u32 = 15;
const JAVA_MAJOR_MIN: u32 = 17;

const POSTGRES_PLACES: [&str; 6] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];
const JAVA_PLACES: [&str; 4] = [
    "/usr/lib/jvm/*/bin/java",
    "/opt/homebrew/opt/openjdk*/bin/java",
    "/usr/local/opt/openjdk*/bin/java",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home/bin/java",
];

/// The programs of one Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresPrograms {
    pub(crate) directory: PathBuf,
    pub(crate) version: String,
    pub(crate) major: u32,
}

/// A Java runtime.
#[derive(Clone, Debug)]
pub(crate) struct Java {
    pub(crate) program: PathBuf,
    pub(crate) version: String,
}

impl Java {
    /// The directory that `JAVA_HOME` names.
    pub(crate) fn home(&self) -> PathBuf {
        self.program
            .ancestors()
            .nth(2)
            .unwrap_or(&self.program)
            .to_owned()
    }
}

/// `name` on the search path, else in one of `places`.
pub(crate) fn program(name: &str, places: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(places.iter().map(PathBuf::from));
    directories
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Every Postgres that is new enough and that `usable` admits, newest first.
pub(crate) async fn postgres(usable: impl Fn(&Path) -> bool) -> Vec<PostgresPrograms> {
    let mut directories: Vec<PathBuf> = POSTGRES_PLACES.iter().flat_map(|place| expand(place)).collect();
    directories.extend(program("postgres", &[]).and_then(|file| Some(file.parent()?.to_owned())));
    if let Ok(told) = command::run(Command::new("pg_config").arg("--bindir"), "").await {
        directories.push(told.trim().into());
    }
    let mut found: Vec<PostgresPrograms> = Vec::new();
    for directory in directories {
        let Ok(directory) = directory.canonicalize() else {
            continue;
        };
        let complete = directory.join("initdb").is_file() && directory.join("postgres").is_file();
        if complete && usable(&directory) && found.iter().all(|known| known.directory != directory) {
            found.extend(postgres_at(directory).await);
        }
    }
    found.retain(|programs| programs.major >= POSTGRES_MAJOR_MIN);
    found.sort_by_key(|programs| std::cmp::Reverse(programs.major));
    found
}

/// The Postgres in `directory`, if it runs.
pub(crate) async fn postgres_at(directory: PathBuf) -> Option<PostgresPrograms> {
    let told = command::run(Command::new(directory.join("postgres")).arg("--version"), "")
        .await
        .ok()?;
    // `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
    let version = told.split_ascii_whitespace().nth(2)?.to_owned();
    let major = major(&version)?;
    Some(PostgresPrograms {
        directory,
        version,
        major,
    })
}

/// The first Java that is new enough and that `usable` admits: `JAVA_HOME`, the search path, the usual places.
pub(crate) async fn java(usable: impl Fn(&Path) -> bool) -> Option<Java> {
    let chosen = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let candidates = chosen
        .into_iter()
        .chain(program("java", &[]))
        .chain(JAVA_PLACES.iter().flat_map(|place| expand(place)));
    for candidate in candidates {
        let Ok(program) = candidate.canonicalize() else {
            continue;
        };
        if !usable(&program) {
            continue;
        }
        if let Some(version) = java_version(&program).await
            && major(&version).is_some_and(|major| major >= JAVA_MAJOR_MIN)
        {
            return Some(Java { program, version });
        }
    }
    None
}

/// From the file that each runtime has beside it (a JVM takes a while to say its version), else by asking it.
async fn java_version(program: &Path) -> Option<String> {
    let release = program.ancestors().nth(2).map(|home| home.join("release"));
    if let Some(version) = release
        .and_then(|file| fs::read_to_string(file).ok())
        .and_then(|text| quoted_version(&text, "JAVA_VERSION="))
    {
        return Some(version);
    }
    let told = command::run(Command::new(program).arg("--version"), "")
        .await
        .ok()?;
    told.split_ascii_whitespace().nth(1).map(str::to_owned)
}

fn quoted_version(release: &str, key: &str) -> Option<String> {
    let value = release.lines().find_map(|line| line.strip_prefix(key))?;
    Some(value.trim().trim_matches('"').to_owned())
}

fn major(version: &str) -> Option<u32> {
    let digits = version
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(version.len());
    version[..digits].parse().ok()
}

/// The paths that exist for a pattern in which a component may hold one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/")];
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        paths = match component.split_once('*') {
            None => paths
                .into_iter()
                .map(|path| path.join(component))
                .filter(|path| path.exists())
                .collect(),
            Some((prefix, suffix)) => paths
                .iter()
                .flat_map(|path| matching(path, prefix, suffix))
                .collect(),
        };
    }
    paths
}

fn matching(directory: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.ends_with(suffix))
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_gives_the_paths_that_exist() {
        let root = tempfile::tempdir().unwrap();
        for name in ["pg-15/bin", "pg-16/bin", "pg-17/lib", "other/bin"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let pattern = format!("{}/pg-*/bin", root.path().display());
        assert_eq!(
            expand(&pattern),
            [root.path().join("pg-15/bin"), root.path().join("pg-16/bin")]
        );
    }

    #[test]
    fn versions_are_read_as_programs_write_them() {
        assert_eq!(major("15.18"), Some(15));
        assert_eq!(major("19beta1"), Some(19));
        assert_eq!(major("17"), Some(17));
        assert_eq!(major("devel"), None);
        let release = "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"17.0.15\"\n";
        assert_eq!(
            quoted_version(release, "JAVA_VERSION=").as_deref(),
            Some("17.0.15")
        );
    }

    #[tokio::test]
    async fn postgres_of_this_machine_is_found_newest_first_and_only_where_usable() {
        let found = postgres(|_| true).await;
        assert!(found.is_sorted_by_key(|programs| std::cmp::Reverse(programs.major)));
        assert!(found.iter().all(|programs| programs.major >= POSTGRES_MAJOR_MIN));
        assert_eq!(postgres(|_| false).await, []);
    }
}
