//! `text.stats`: what a person would like to know of a text before reading it.

use std::cmp::Reverse;
use std::collections::HashMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Attempt, Handler, HandlerError, JsonText};

/// Words a minute of silent reading (Brysbaert 2019: 238 for English non-fiction).
const WORDS_PER_MINUTE: f64 = 238.0;
/// Words listed.
const TOP_WORD_COUNT: usize = 10;
/// Characters below which a word is too common to be listed.
const TOP_WORD_LEN_MIN: usize = 4;
/// Bytes above which counting would hold up the other tasks of the thread.
const INLINE_BYTES_MAX: usize = 32 * 1024;

/// Counts the words of `{"text": …}`.
#[derive(Debug)]
pub(crate) struct TextStats;

#[derive(Deserialize)]
struct Payload {
    text: String,
}

#[derive(Debug, Serialize)]
struct Stats {
    characters: usize,
    words: usize,
    sentences: usize,
    paragraphs: usize,
    reading_time_s: u64,
    top_words: Vec<TopWord>,
}

#[derive(Debug, PartialEq, Serialize)]
struct TopWord {
    word: String,
    count: usize,
}

#[async_trait]
impl Handler for TextStats {
    async fn handle(&self, attempt: &Attempt) -> Result<JsonText, HandlerError> {
        let Payload { text } = attempt.payload_as()?;
        let stats = if text.len() <= INLINE_BYTES_MAX {
            stats(&text)
        } else {
            tokio::task::spawn_blocking(move || stats(&text)).await?
        };
        Ok(JsonText::of(&stats)?)
    }
}

fn stats(text: &str) -> Stats {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut word_count = 0;
    let words = text
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    for word in words.filter(|word| !word.is_empty()) {
        word_count += 1;
        if word.contains(char::is_alphabetic) && word.chars().nth(TOP_WORD_LEN_MIN - 1).is_some() {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    let mut top_words: Vec<TopWord> = counts
        .into_iter()
        .map(|(word, count)| TopWord { word, count })
        .collect();
    top_words.sort_unstable_by(|a, b| (Reverse(a.count), &a.word).cmp(&(Reverse(b.count), &b.word)));
    top_words.truncate(TOP_WORD_COUNT);
    let minutes = f64::from(u32::try_from(word_count).unwrap_or(u32::MAX)) / WORDS_PER_MINUTE;
    Stats {
        characters: text.chars().count(),
        words: word_count,
        sentences: sentence_count(text),
        paragraphs: text
            .split("\n\n")
            .filter(|paragraph| !paragraph.trim().is_empty())
            .count(),
        reading_time_s: std::time::Duration::from_secs_f64(minutes * 60.0).as_secs(),
        top_words,
    }
}

/// Stretches with a letter or digit that end in a stop or with the text; a stop inside a number or name ends none.
fn sentence_count(text: &str) -> usize {
    let mut count = 0;
    let mut open = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        open |= c.is_alphanumeric();
        let ends = matches!(c, '.' | '!' | '?' | '…' | '。')
            && chars.peek().is_none_or(|next| !next.is_alphanumeric());
        if open && ends {
            count += 1;
            open = false;
        }
    }
    count + usize::from(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted() {
        let stats = stats("The quick fox wasn't quick.\n\nPi is 3.14, the fox said! Really?! Quick");
        assert_eq!((stats.words, stats.sentences, stats.paragraphs), (13, 4, 2));
        let word = |word: &str, count| TopWord {
            word: word.to_owned(),
            count,
        };
        assert_eq!(stats.top_words[..2], [word("quick", 3), word("really", 1)]);
    }

    #[test]
    fn nothing_and_punctuation_alone_count_as_nothing() {
        for text in ["", " \n\n ", "... !? '"] {
            let stats = stats(text);
            assert_eq!(
                (stats.words, stats.sentences, stats.reading_time_s),
                (0, 0, 0),
                "{text:?}"
            );
        }
    }
}
