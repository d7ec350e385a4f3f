//! Behaviours of the layers and of their errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    store: Store,
    types: BTreeMap<String, Kind>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Store {
    url: Secret,
    pool_size: u32,
    ratio: Option<f64>,
    on: bool,
    queues: Vec<String>,
    mode: Mode,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Fast,
    Safe,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Kind {
    url: String,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: Secret::new("host=/x password=p"),
            pool_size: 8,
            ratio: None,
            on: false,
            queues: vec!["default".to_owned()],
            mode: Mode::Fast,
        }
    }
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn error_of(layers: Layers) -> String {
    layers.load::<Config>().unwrap_err().to_string()
}

#[test]
fn nothing_set_gives_the_defaults() {
    assert_eq!(Layers::new().load::<Config>().unwrap().value, Config::default());
}

#[test]
fn each_layer_replaces_single_values_of_the_one_below() {
    let file = "[store]\npool_size = 1\non = true\nmode = \"safe\"\n[types.\"a.b\"]\nurl = \"u\"\n";
    let variables = environment(&[
        ("P_STORE__POOL_SIZE", "2"),
        ("P_STORE__RATIO", "0.5"),
        ("P_URL", "x"),
    ]);
    let loaded = Layers::new()
        .toml("f.toml", file)
        .unwrap()
        .environment("P_", &["P_URL"], variables)
        .unwrap()
        .flag("--pool", "store.pool_size", "3")
        .load::<Config>()
        .unwrap();
    let store = loaded.value.store;
    assert_eq!(
        (store.pool_size, store.ratio, store.on, store.mode),
        (3, Some(0.5), true, Mode::Safe)
    );
    assert_eq!(loaded.value.types["a.b"].url, "u");
}

#[test]
fn texts_of_the_environment_become_what_the_key_wants() {
    let variables = environment(&[
        ("P_STORE__URL", "007"),
        ("P_STORE__QUEUES", "a, b"),
        ("P_STORE__MODE", "safe"),
        ("P_STORE__ON", "true"),
    ]);
    let store = Layers::new()
        .environment("P_", &[], variables)
        .unwrap()
        .load::<Config>()
        .unwrap()
        .value
        .store;
    assert_eq!(store.url.expose(), "007");
    assert_eq!(store.queues, ["a", "b"]);
    assert_eq!((store.mode, store.on), (Mode::Safe, true));
    let variables = environment(&[("P_STORE__QUEUES", r#"["c"]"#)]);
    let store = Layers::new()
        .environment("P_", &[], variables)
        .unwrap()
        .load::<Config>()
        .unwrap()
        .value
        .store;
    assert_eq!(store.queues, ["c"]);
}

#[test]
fn a_flag_names_a_key_as_toml_does() {
    let load = |key: &str| {
        Layers::new()
            .flag("--set", key, "u")
            .load::<Config>()
            .unwrap()
            .value
    };
    assert_eq!(load("types.\"a.b\".url").types["a.b"].url, "u");
    assert_eq!(load("types.a.url").types["a"].url, "u");
    assert!(error_of(Layers::new().flag("--set", "a b.c", "u")).contains("`a b`"));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let layers = Layers::new()
        .toml("f.toml", "\n[store]\non = true\npool_sise = 3\n")
        .unwrap();
    assert_eq!(
        error_of(layers),
        "unknown configuration key `store.pool_sise` (f.toml, line 4): did you mean `store.pool_size`?"
    );
    let layers = Layers::new().toml("f.toml", "[colour]\nx = 1\n").unwrap();
    assert_eq!(
        error_of(layers),
        "unknown configuration key `colour` (f.toml, line 1): known here are store, types"
    );
}

#[test]
fn an_unknown_key_of_the_environment_names_the_variable() {
    let variables = environment(&[("P_STORE__ULR", "x")]);
    let layers = Layers::new().environment("P_", &[], variables).unwrap();
    assert_eq!(
        error_of(layers),
        "unknown configuration key `store.ulr` (environment variable P_STORE__ULR): did you mean `store.url`?"
    );
    let refused = Layers::new()
        .environment("P_", &[], environment(&[("P_STORE_URL", "x")]))
        .unwrap_err();
    assert!(refused.to_string().contains("P_STORE_URL"), "{refused}");
}

#[test]
fn a_value_of_the_wrong_kind_names_its_key_and_source() {
    let layers = Layers::new()
        .toml("f.toml", "[store]\npool_size = \"many\"\n")
        .unwrap();
    let text = error_of(layers);
    assert!(
        text.starts_with("configuration key `store.pool_size` (f.toml, line 2): invalid type"),
        "{text}"
    );
    let text = error_of(Layers::new().flag("--pool", "store.pool_size", "-1"));
    assert!(
        text.starts_with("configuration key `store.pool_size` (flag --pool): invalid value"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_not_toml_is_refused_by_its_line_and_the_line_is_not_told() {
    let layers = Layers::new().toml("f.toml", "[store]\nurl = \"hunter2\" oops\n");
    let text = layers.unwrap_err().to_string();
    assert!(
        text.starts_with("configuration (f.toml, line 2): not TOML: "),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_value_in_the_place_of_a_table_is_refused_and_not_told() {
    for layers in [
        Layers::new().flag("--set", "types", "password=hunter2"),
        Layers::new().toml("f.toml", "types = \"hunter2\"").unwrap(),
    ] {
        let text = error_of(layers);
        assert!(text.starts_with("configuration key `types` ("), "{text}");
        assert!(
            text.contains("expected a table") && !text.contains("hunter2"),
            "{text}"
        );
    }
}

#[test]
fn what_is_in_force_is_shown_with_sources_and_without_secrets() {
    let layers = Layers::new()
        .toml("f.toml", "[store]\npool_size = 3\n[types.\"a.b\"]\nurl = \"u\"\n")
        .unwrap();
    let text = layers.load::<Config>().unwrap().to_toml().unwrap();
    assert!(text.contains("pool_size = 3 # f.toml, line 2\n"), "{text}");
    assert!(text.contains("url = \"(hidden)\"\n"), "{text}");
    assert!(text.contains("[types.\"a.b\"]\n"), "{text}");
    assert!(!text.contains("password"), "{text}");
    toml::from_str::<Config>(&text).unwrap();
}
