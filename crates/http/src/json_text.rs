//! Checks a JSON text for what a parser that keeps it as text lets through, in one pass: nesting that is too deep,
//! halves of surrogate pairs, which no string can hold, and a name twice in one object, of which every reader would pick
//! another value. The syntax was checked before; numbers are nobody's business here, and U+0000 may stand in a payload,
//! since everything downstream holds it as text.

use std::borrow::Cow;
use std::collections::HashSet;

use posthaste_api::pointer_step;
use posthaste_types::limits::JSON_DEPTH_MAX;

/// What is wrong with a JSON text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// Where, as a JSON Pointer; to something around it when that would be very long.
    pub(crate) pointer: String,
    /// What it must or must not be.
    pub(crate) detail: String,
}

/// Names of one object up to which each is compared with each.
const FEW: usize = 16;
/// A pointer goes no deeper once it has so many bytes.
const POINTER_BYTES_MAX: usize = 500;

/// Looks at every byte once. The members of the outermost object may each be nested [`JSON_DEPTH_MAX`] levels deep.
pub(crate) fn check(text: &[u8]) -> Result<(), Unusable> {
    let mut scan = Scan {
        open: Vec::new(),
        names: Vec::new(),
        is_name_next: false,
    };
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let end = string_end(text, at + 1).map_err(|wrong| scan.unusable(wrong))?;
                if scan.is_name_next {
                    scan.name(&text[at..=end])?;
                }
                at = end;
            }
            b'{' => scan.open(Open::Object {
                first: scan.names.len(),
                many: None,
            })?,
            b'[' => scan.open(Open::Array { index: 0 })?,
            b'}' | b']' => scan.close(),
            b',' => scan.next(),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// An object or array that is not closed yet.
enum Open<'text> {
    Object {
        /// Where its names begin in the scan's.
        first: usize,
        /// All of them, once they are more than a few.
        many: Option<HashSet<Cow<'text, [u8]>>>,
    },
    Array {
        index: usize,
    },
}

struct Scan<'text> {
    open: Vec<Open<'text>>,
    /// Those of all objects that are open, without their quotes and escapes.
    names: Vec<Cow<'text, [u8]>>,
    is_name_next: bool,
}

impl<'text> Scan<'text> {
    fn open(&mut self, open: Open<'text>) -> Result<(), Unusable> {
        self.is_name_next = matches!(open, Open::Object { .. });
        self.open.push(open);
        if self.open.len() > JSON_DEPTH_MAX + 1 {
            let mut pointer = String::new();
            self.push_token(&mut pointer, 0);
            let detail = format!("must not be nested deeper than {JSON_DEPTH_MAX} levels");
            return Err(Unusable { pointer, detail });
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(Open::Object { first, .. }) = self.open.pop() {
            self.names.truncate(first);
        }
        self.is_name_next = false;
    }

    fn next(&mut self) {
        match self.open.last_mut() {
            Some(Open::Array { index }) => *index += 1,
            Some(Open::Object { .. }) => self.is_name_next = true,
            None => {}
        }
    }

    /// A name with its quotes.
    fn name(&mut self, quoted: &'text [u8]) -> Result<(), Unusable> {
        self.is_name_next = false;
        let Some(Open::Object { first, many }) = self.open.last_mut() else {
            return Ok(());
        };
        let name = unescaped(quoted);
        let names = &self.names[*first..];
        let is_new = match many {
            Some(many) => many.insert(name.clone()),
            None if names.len() < FEW => !names.contains(&name),
            None => many.insert(names.iter().cloned().collect()).insert(name.clone()),
        };
        self.names.push(name);
        if is_new {
            return Ok(());
        }
        Err(self.unusable("is there twice: the names in one object must differ"))
    }

    /// Something wrong with what the scan has come to.
    fn unusable(&self, detail: &str) -> Unusable {
        let mut pointer = String::new();
        for level in 0..self.open.len() {
            self.push_token(&mut pointer, level);
        }
        Unusable {
            pointer,
            detail: detail.to_owned(),
        }
    }

    /// The token of what is being read at a level, if there is room for it.
    fn push_token(&self, pointer: &mut String, level: usize) {
        let step = match &self.open[level] {
            Open::Array { index } => pointer_step(&index.to_string()),
            Open::Object { first, .. } => {
                let inner = self.open[level + 1..].iter().find_map(|open| match open {
                    Open::Object { first, .. } => Some(*first),
                    Open::Array { .. } => None,
                });
                let names = &self.names[*first..inner.unwrap_or(self.names.len())];
                let Some(name) = names.last() else { return };
                pointer_step(&String::from_utf8_lossy(name))
            }
        };
        if pointer.len() + step.len() <= POINTER_BYTES_MAX {
            pointer.push_str(&step);
        }
    }
}

/// What a string that was checked says.
fn unescaped(quoted: &[u8]) -> Cow<'_, [u8]> {
    let inner = &quoted[1..quoted.len() - 1];
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let text: String = serde_json::from_slice(quoted).expect("its escapes were checked");
    Cow::Owned(text.into_bytes())
}

/// The index of the quote that ends the string whose text begins at `at`.
fn string_end(text: &[u8], mut at: usize) -> Result<usize, &'static str> {
    loop {
        at += memchr::memchr2(b'"', b'\\', &text[at..]).expect("checked JSON closes its strings");
        if text[at] == b'"' {
            return Ok(at);
        }
        at = match unit(text, at) {
            None => at + 2,
            Some(0xD800..=0xDBFF) if matches!(unit(text, at + 6), Some(0xDC00..=0xDFFF)) => at + 12,
            Some(0xD800..=0xDFFF) => {
                return Err("must not hold half of a surrogate pair (\\ud800 to \\udfff alone)");
            }
            Some(_) => at + 6,
        };
    }
}

/// The UTF-16 unit of a `\uXXXX` that begins at `at`.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn pointer(text: &str) -> Option<String> {
        check(text.as_bytes()).err().map(|unusable| unusable.pointer)
    }

    #[test]
    fn whole_pairs_and_other_escapes_pass_and_halves_do_not() {
        for text in [
            r#""😀""#,
            r#""\ud83d\ude00""#,
            r#""\u0000\n\"\\""#,
            r#"{"\\ud800": "\\"}"#,
            "-1.5e300",
            "null",
        ] {
            assert_eq!(pointer(text), None, "{text}");
        }
        for (text, wanted) in [
            (r#""\ud83d""#, ""),
            (r#"["", "\ude00\ud83d"]"#, "/1"),
            (r#"{"a": {"b": [0, "\uD83Dx"]}}"#, "/a/b/1"),
            (r#"{"a": 1, "\udc00": 1}"#, "/a"),
            (r#""\ud83d\u0041""#, ""),
        ] {
            assert_eq!(pointer(text).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn a_name_twice_in_one_object_is_told_by_where_the_second_stands() {
        for (text, wanted) in [
            (r#"{"a": 1, "a": 2}"#, Some("/a")),
            (r#"{"a": 1, "\u0061": 2}"#, Some("/a")),
            (
                r#"{"x": [{}, {"a/b~": {"c": 1}, "d": 2, "a/b~": 3}]}"#,
                Some("/x/1/a~1b~0"),
            ),
            (r#"{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]}"#, None),
            (r#"{"a": "a", "b": ["a", "b", "a"], "c": {"b": "a"}}"#, None),
            (r#"{"": 1, "": 2}"#, Some("/")),
            (r#"{"a": 1, "A": 2, "ä": 3, "a ": 4}"#, None),
        ] {
            assert_eq!(pointer(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn objects_of_many_names_are_checked_too() {
        let object = |count: usize, last: usize| {
            let mut text = "{".to_owned();
            for index in 0..count {
                let _ = write!(text, r#""name-{index}": {{"a": {index}}},"#);
            }
            format!(r#"{text}"name-{last}": 0}}"#)
        };
        for count in [FEW - 1, FEW, FEW + 1, 100_000] {
            assert_eq!(pointer(&object(count, count)), None);
            for last in [0, count - 1] {
                assert_eq!(pointer(&object(count, last)), Some(format!("/name-{last}")));
            }
        }
    }

    #[test]
    fn nesting_is_counted_outside_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let payload = |text: &str| format!(r#"{{"payload": {text}}}"#);
        assert_eq!(pointer(&payload(&nested(JSON_DEPTH_MAX))), None);
        let deeper = payload(&nested(JSON_DEPTH_MAX + 1));
        assert_eq!(pointer(&deeper).as_deref(), Some("/payload"));
        assert_eq!(pointer(&format!("\"{}\"", "[{".repeat(JSON_DEPTH_MAX))), None);
    }

    #[test]
    fn a_pointer_stays_short() {
        let name = "x".repeat(10_000);
        let text = format!(r#"{{"a": {{"{name}": {{"b": 1, "b": 2}}}}}}"#);
        assert!(pointer(&text).unwrap().len() <= POINTER_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_passes(text in ".*", names in proptest::collection::btree_map(".*", ".*", 0..40)) {
            prop_assert_eq!(pointer(&serde_json::to_string(&text).unwrap()), None);
            prop_assert_eq!(pointer(&serde_json::to_string(&names).unwrap()), None);
        }
    }
}
