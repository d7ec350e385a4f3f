//! What the processes of all scenarios have logged.

use std::sync::Arc;

use anyhow::ensure;

use crate::world::World;

/// What the secrets begin with, and how many letters and digits may follow: of a key only its prefix may be shown.
const SECRETS: [(&str, usize); 3] = [("phk_", 8), ("pht_", 0), ("whsec_", 0)];
/// What hostile requests call their passwords.
const HOSTILE_SECRETS: [&str; 2] = ["dont-log-me", "ZG9udC1sb2ctbWUt"];

pub(crate) async fn no_process_has_logged_a_secret(world: Arc<World>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(world.logs.path())? {
        let path = entry?.path();
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        for line in text.lines() {
            ensure!(!holds_secret(line), "{}: {line}", path.display());
        }
    }
    Ok(())
}

/// Whether a line holds more of a secret than may be shown.
fn holds_secret(line: &str) -> bool {
    let is_part = |character: char| character.is_ascii_alphanumeric();
    SECRETS.iter().any(|(prefix, shown_len)| {
        line.split(prefix)
            .skip(1)
            .any(|rest| rest.chars().take_while(|character| is_part(*character)).count() > *shown_len)
    }) || HOSTILE_SECRETS.iter().any(|secret| line.contains(secret))
}
