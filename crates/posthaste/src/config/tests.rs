//! Holds connectors/posthaste.toml to the tree: every key is in it, with its default.

use posthaste_runtime::config::Layers;

use super::Config;

const EXAMPLE: &str = include_str!("../../../../connectors/posthaste.toml");

/// Sections that are tables of the operator's own names.
const FREE: &[&str] = &["kafka.properties", "worker.types"];

fn load(text: &str) -> Config {
    Layers::new()
        .toml("posthaste.toml", text)
        .unwrap()
        .load()
        .unwrap()
        .value
}

/// The keys that a section takes, as the error for one that it does not take lists them.
fn keys_of(section: &str) -> Option<Vec<String>> {
    let text = format!("{section}.surely_no_key_of_ours = 1");
    let error = Layers::new()
        .toml("", &text)
        .unwrap()
        .load::<Config>()
        .unwrap_err()
        .to_string();
    let (_, known) = error.split_once(": known here are ")?;
    Some(known.split(", ").map(str::to_owned).collect())
}

#[test]
fn example_holds_the_defaults() {
    let shown = |config: &Config| toml::Table::try_from(config).unwrap();
    let (example, default) = (load(EXAMPLE), Config::default());
    assert_eq!(shown(&example), shown(&default));
    assert_eq!(example.database.url, default.database.url);
    assert_eq!(example.registry.url, default.registry.url);
}

#[test]
fn example_names_every_key() {
    let sections = toml::Table::try_from(Config::default()).unwrap();
    let mut missing = Vec::new();
    for section in sections.keys() {
        let (_, body) = EXAMPLE
            .split_once(&format!("\n[{section}]\n"))
            .unwrap_or(("", ""));
        let body: Vec<&str> = body
            .lines()
            .take_while(|line| !line.starts_with('[') || line.starts_with(&format!("[{section}.")))
            .collect();
        for key in keys_of(section).unwrap() {
            let name = format!("{section}.{key}");
            let is_named = body.iter().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line.starts_with(&format!("{key} ="))
                    || line.starts_with(&format!("[{name}"))
                    || line.starts_with(&format!("[[{name}]]"))
            });
            if !is_named {
                missing.push(name);
            }
        }
    }
    assert!(
        missing.is_empty(),
        "connectors/posthaste.toml does not name {missing:?}"
    );
}

#[test]
fn examples_in_comments_are_valid_too() {
    let is_example = |line: &&str| {
        let rest = line.strip_prefix("# ").unwrap_or_default();
        rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let lines = EXAMPLE
        .lines()
        .map(|line| if is_example(&line) { &line[2..] } else { line });
    load(&lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn free_sections_take_any_name() {
    for section in FREE {
        assert!(keys_of(section).is_none(), "{section}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let text = r#"
[database]
url = "postgresql://u:hunter2@h/d"
[kafka.properties]
"sasl.password" = "hunter2"
[worker.types."a.b"]
url = "http://u:hunter2@host/x"
headers = { authorization = "hunter2" }
env = { TOKEN = "hunter2" }
"#;
    let loaded = Layers::new().toml("f", text).unwrap().load::<Config>().unwrap();
    let shown = loaded.to_toml().unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("url = \"(hidden)\" # f, line 3"), "{shown}");
    assert!(
        shown.contains("url = \"http://(hidden)@host/x\" # f, line 7"),
        "{shown}"
    );
}

#[test]
fn a_name_to_listen_at_is_refused_with_what_to_write() {
    let layers = Layers::new().flag("--listen", "http.listen", "localhost:18500");
    let error = layers.load::<Config>().unwrap_err().to_string();
    for part in [
        "flag --listen",
        "`localhost:18500` is not IP:PORT",
        "127.0.0.1:8080",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
