//! How often each symbol trades: Zipf-Mandelbrot, drawn in constant time.

use std::{fmt, str::FromStr};

use crate::random::Random;

/// The law of popularity: the symbol of rank `r`, from 1, trades in proportion to `1 / (r + offset)^exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Zipf {
    /// 0 makes all alike. At most [`Zipf::EXPONENT_MAX`].
    pub exponent: f64,
    /// Flattens the head.
    pub offset: f64,
}

impl Default for Zipf {
    /// Of 500 symbols the first then has 2.7 % of the ticks, about what the busiest share on an exchange has, where
    /// plain Zipf (1/0) would give it 15 %.
    fn default() -> Self {
        Self { exponent: 1.0, offset: 8.0 }
    }
}

impl Zipf {
    /// With more, one symbol has all the ticks.
    pub const EXPONENT_MAX: f64 = 10.0;

    /// The weight of the symbol with that rank, from 0.
    pub(super) fn weight(self, rank: usize) -> f64 {
        // Not that of the standard library, whose last bit depends on the platform. To the power of 1 it is exact.
        1.0 / libm::pow(rank as f64 + 1.0 + self.offset, self.exponent)
    }
}

/// Why a text is no [`Zipf`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read {0:?}: it is EXPONENT or EXPONENT/OFFSET, such as 1/8, with an exponent from 0 to {max} and an offset of 0 or more",
    max = Zipf::EXPONENT_MAX
)]
pub struct ZipfError(String);

impl FromStr for Zipf {
    type Err = ZipfError;

    fn from_str(text: &str) -> Result<Self, ZipfError> {
        let parse = || {
            let (exponent, offset) = text.split_once('/').unwrap_or((text, "0"));
            let exponent = exponent.parse().ok().filter(|exponent| (0.0..=Self::EXPONENT_MAX).contains(exponent))?;
            let offset = offset.parse().ok().filter(|offset| (0.0..=1e9).contains(offset))?;
            Some(Self { exponent, offset })
        };
        parse().ok_or_else(|| ZipfError(text.to_owned()))
    }
}

impl fmt::Display for Zipf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.exponent, self.offset)
    }
}

/// A distribution over the symbols of a lane (Walker's alias method in Vose's form, 1991): each column of the table
/// holds its own symbol up to a threshold and another one above.
#[derive(Debug, Clone)]
pub(super) struct Popularity {
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// The share of the column that is its own symbol's, in 2^-32.
    threshold: u32,
    alias: u32,
}

impl Popularity {
    /// The distribution over symbols of the given ranks.
    pub(super) fn new(zipf: Zipf, ranks: &[u32]) -> Self {
        let weights: Vec<f64> = ranks.iter().map(|&rank| zipf.weight(rank as usize)).collect();
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut left: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..left.len()).partition(|&i| left[i] < 1.0);
        let mut columns: Vec<Column> =
            (0..left.len()).map(|i| Column { threshold: u32::MAX, alias: i as u32 }).collect();
        while let (Some(&from), Some(to)) = (large.last(), small.pop()) {
            columns[to] = Column { threshold: (left[to] * f64::from(u32::MAX)) as u32, alias: from as u32 };
            left[from] -= 1.0 - left[to];
            if left[from] < 1.0 {
                large.pop();
                small.push(from);
            }
        }
        Self { columns }
    }

    /// The position of a symbol within the ranks that the distribution was made from.
    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let bits = random.bits();
        let index = (((bits >> 32) * self.columns.len() as u64) >> 32) as usize;
        let column = self.columns[index];
        if bits as u32 <= column.threshold { index } else { column.alias as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let ranks = [0, 3, 11, 40, 400];
        for (law, first) in [("1/8", 0.37), ("0", 0.2), ("1.5", 0.86)] {
            let zipf: Zipf = law.parse().unwrap();
            let popularity = Popularity::new(zipf, &ranks);
            let mut random = Random::new(5, 0);
            let mut drawn = [0.0; 5];
            for _ in 0..200_000 {
                drawn[popularity.draw(&mut random)] += 1.0 / 200_000.0;
            }
            let weights = ranks.map(|rank| (f64::from(rank) + 1.0 + zipf.offset).powf(-zipf.exponent));
            for (share, weight) in drawn.into_iter().zip(weights) {
                let expected = weight / weights.iter().sum::<f64>();
                assert!((share - expected).abs() < 0.005, "{law}: {share} for {expected}");
            }
            assert!((drawn[0] - first).abs() < 0.05, "{law}: {drawn:?}");
        }
    }

    #[test]
    fn law_is_read_and_anything_else_refused_with_what_it_is() {
        assert_eq!("1.2".parse(), Ok(Zipf { exponent: 1.2, offset: 0.0 }));
        assert_eq!(Zipf::default().to_string().parse(), Ok(Zipf::default()));
        for text in ["", "-1", "11", "1/-1", "1/x", "NaN", "1/NaN"] {
            assert!(text.parse::<Zipf>().unwrap_err().to_string().contains("EXPONENT/OFFSET"), "{text}");
        }
    }
}
