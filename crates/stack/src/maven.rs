//! Fetches through the user's own Maven, so that its mirrors and credentials apply. Names no registry host.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::command;
use crate::error::{Error, Missing};
use crate::find::{self, Java};

/// Newer ones refuse the registry's archive, whose parent POM was never published; this one does not look for it.
const PLUGIN_GET: &str = "org.apache.maven.plugins:maven-dependency-plugin:2.8:get";
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";

/// Maven, run under a Java that was found.
#[derive(Clone, Debug)]
pub(crate) struct Maven {
    program: PathBuf,
    java_home: PathBuf,
}

impl Maven {
    pub(crate) fn find(java: &Java) -> Result<Self, Error> {
        let program = find::program(
            "mvn",
            &["/usr/share/maven/bin", "/opt/homebrew/bin", "/usr/local/bin"],
        );
        let program = program.ok_or(Error::Missing(Missing::Maven))?;
        Ok(Self {
            program,
            java_home: java.home(),
        })
    }

    /// Puts the jars of everything that `pom` depends on at run time into `into`.
    pub(crate) async fn dependencies(&self, pom: &str, into: &Path) -> Result<(), Error> {
        let path = into.join("pom.xml");
        fs::write(&path, pom).map_err(Error::io("cannot write", &path))?;
        let output = format!("-DoutputDirectory={}", into.join("jars").display());
        self.run(
            into,
            &[
                &format!("{PLUGIN}:copy-dependencies"),
                "-DincludeScope=runtime",
                &output,
            ],
        )
        .await
    }

    /// Copies one artefact (`group:artifact:version:type:classifier`) to `file`.
    pub(crate) async fn artifact(&self, coordinates: &str, file: &Path) -> Result<(), Error> {
        let directory = file.parent().expect("the file is in a cache entry");
        let artifact = format!("-Dartifact={coordinates}");
        let destination = format!("-Ddest={}", file.display());
        self.run(
            directory,
            &[PLUGIN_GET, &artifact, "-Dtransitive=false", &destination],
        )
        .await
    }

    /// Unpacks the jar `coordinates` into `into`.
    pub(crate) async fn unpack(&self, coordinates: &str, into: &Path) -> Result<(), Error> {
        let artifact = format!("-Dartifact={coordinates}");
        let output = format!("-DoutputDirectory={}", into.display());
        self.run(into, &[&format!("{PLUGIN}:unpack"), &artifact, &output])
            .await
    }

    async fn run(&self, directory: &Path, arguments: &[&str]) -> Result<(), Error> {
        let mut command = Command::new(&self.program);
        command.args(["-q", "-B", "-Dstyle.color=never"]).args(arguments);
        command.current_dir(directory).env("JAVA_HOME", &self.java_home);
        command::run(&mut command, "").await.map(drop)
    }
}

/// Unpacks a tar archive, whatever its compression.
pub(crate) async fn untar(archive: &Path, into: &Path) -> Result<(), Error> {
    let tar = find::program("tar", &[]).ok_or(Error::Missing(Missing::Tar))?;
    // GNU tar leaves decompression to `xz`; the one of macOS does it itself.
    let needs_xz =
        cfg!(target_os = "linux") && archive.extension().is_some_and(|extension| extension == "txz");
    if needs_xz && find::program("xz", &[]).is_none() {
        return Err(Error::Missing(Missing::Xz));
    }
    fs::create_dir_all(into).map_err(Error::io("cannot create", into))?;
    command::run(Command::new(tar).arg("-xf").arg(archive).arg("-C").arg(into), "")
        .await
        .map(drop)
}
