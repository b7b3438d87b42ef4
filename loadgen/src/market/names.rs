//! Names of symbols: a few that everybody knows for the most popular ranks, then four letters each.

/// They head the list, so that queries in documentation find them.
const KNOWN: [&str; 20] = [
    "AAPL", "MSFT", "NVDA", "AMZN", "GOOG", "META", "TSLA", "AVGO", "LLY", "JPM", "V", "XOM", "UNH", "MA", "COST",
    "HD", "PG", "NFLX", "JNJ", "ORCL",
];

/// How many four-letter combinations there are.
const COMBINATIONS: usize = 26 * 26 * 26 * 26;

/// How many names [`tickers`] yields at least.
pub(super) const COUNT: usize = COMBINATIONS;

/// Distinct names, the same ones in the same order for every seed.
pub(super) fn tickers() -> impl Iterator<Item = String> {
    let letters = (0..COMBINATIONS).map(four_letters).filter(|name| !KNOWN.contains(&name.as_str()));
    KNOWN.into_iter().map(str::to_owned).chain(letters)
}

/// The combination number `rank` in a scattered order: the multiplier shares no factor with 26, so that it visits each
/// combination once.
fn four_letters(rank: usize) -> String {
    let mut code = (rank * 193_939 + 271_828) % COMBINATIONS;
    let mut name = [b'A'; 4];
    for letter in &mut name {
        *letter += (code % 26) as u8;
        code /= 26;
    }
    name.iter().map(|&letter| char::from(letter)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct() {
        let names: HashSet<String> = tickers().collect();
        assert_eq!(names.len(), tickers().count());
        assert!(names.len() >= COUNT);
    }
}
