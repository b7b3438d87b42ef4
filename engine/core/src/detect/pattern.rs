//! Patterns of symbols and of sale conditions. This file does *not* own the rules that use them.

/// Whether `pattern`, in which `*` stands for any text, matches `symbol`.
///
/// It finds the texts between stars from left to right, each at its first occurrence. That leaves most for the rest.
pub(super) fn pattern_matches(pattern: &str, symbol: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == symbol };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(inner) = symbol.strip_prefix(start).and_then(|symbol| symbol.strip_suffix(end)) else { return false };
    let found = middle.split('*').try_fold(inner, |left, text| Some(&left[left.find(text)? + text.len()..]));
    found.is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::naive;
    use super::*;

    #[test]
    fn star_stands_for_any_text() {
        let yes = [("AAPL", "AAPL"), ("*", ""), ("A*", "A"), ("*USD*", "BTCUSDT"), ("A*B*C", "AxBBxC"), ("é*", "éa")];
        let no = [("AAPL", "AAP"), ("A*", "B"), ("AB*BA", "ABA"), ("*X*", "BTC"), ("", "A"), ("?", "A")];
        assert!(yes.iter().all(|(pattern, symbol)| pattern_matches(pattern, symbol)));
        assert!(!no.iter().any(|(pattern, symbol)| pattern_matches(pattern, symbol)));
    }

    proptest! {
        #[test]
        fn pattern_agrees_with_trying_every_split(pattern in "[ab*]{0,6}", symbol in "[ab]{0,8}") {
            prop_assert_eq!(pattern_matches(&pattern, &symbol), naive::pattern_matches(&pattern, &symbol));
        }
    }
}
