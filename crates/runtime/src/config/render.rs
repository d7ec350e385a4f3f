//! Writes a configuration as TOML with the source of each value beside it.

use std::fmt::Write as _;

use super::layers::Node;

/// Plain values first, then the tables, as TOML wants it.
pub(super) fn render(table: &toml::Table, root: &Node) -> String {
    let mut out = String::new();
    section(&mut out, &mut Vec::new(), table, root);
    out
}

fn section<'a>(out: &mut String, path: &mut Vec<&'a str>, table: &'a toml::Table, root: &Node) {
    let (tables, values): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_table());
    if !path.is_empty() && (!values.is_empty() || tables.is_empty()) {
        let gap = if out.is_empty() { "" } else { "\n" };
        let name = path.iter().map(|part| key(part)).collect::<Vec<_>>().join(".");
        let _infallible = writeln!(out, "{gap}[{name}]");
    }
    for (name, value) in values {
        path.push(name);
        let _infallible = match root.closest(path) {
            Node::Table(..) => writeln!(out, "{} = {value}", key(name)),
            Node::Value(_, source) | Node::Text(_, source) => {
                writeln!(out, "{} = {value} # {source}", key(name))
            }
        };
        path.pop();
    }
    for (name, value) in tables {
        path.push(name);
        section(
            out,
            path,
            value.as_table().expect("partitioned by is_table"),
            root,
        );
        path.pop();
    }
}

/// A key, quoted where TOML wants it.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}
