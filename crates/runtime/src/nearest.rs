//! Finds the known word that a mistyped one most likely meant.

/// The candidate with the smallest edit distance, unless even that one differs in more than a third of its letters;
/// two slips (a swap counts as two) are forgiven in short words too.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    candidates
        .iter()
        .map(|&candidate| (distance(word, candidate), candidate))
        .filter(|&(distance, candidate)| {
            let longer = candidate.len().max(word.len());
            distance < longer && distance <= longer.max(6) / 3
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_match_known_pairs() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
        for (one, other, wanted) in [
            ("", "", 0),
            ("a", "", 1),
            ("abc", "abd", 1),
            ("type", "typo", 1),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
    }

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(nearest("pool_sise", &["url", "pool_size"]), Some("pool_size"));
        assert_eq!(nearest("ulr", &["on", "url"]), Some("url"));
        assert_eq!(nearest("colour", &["url", "pool_size"]), None);
    }
}
