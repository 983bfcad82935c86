//! "Did you mean": the known word that is nearest to a wrong one.

/// Least likeness (Jaro-Winkler, 0 to 1) of a word that is worth suggesting.
const LIKE: f64 = 0.8;

/// `did you mean `endpoints`?`, when one of the known words is near enough.
pub(super) fn did_you_mean<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let wrong = wrong.to_lowercase();
    let likeness = |word: &str| strsim::jaro_winkler(&wrong, &word.to_lowercase());
    known
        .into_iter()
        .map(|word| (likeness(word), word))
        .filter(|(like, _)| *like >= LIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| format!("did you mean `{word}`?"))
}

/// Words as a list in a sentence: `` `a`, `b` and `c` ``.
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => "none".to_owned(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}`", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["endpoints", "connect_timeout", "max_idle"];

        assert_eq!(
            did_you_mean("endpoint", known).as_deref(),
            Some("did you mean `endpoints`?")
        );
        assert_eq!(did_you_mean("colour", known), None);
        assert_eq!(did_you_mean("x", []), None);
    }

    #[test]
    fn a_list_reads_like_a_sentence() {
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&[]), "none");
    }
}
