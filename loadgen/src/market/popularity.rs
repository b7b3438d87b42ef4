//! How often each symbol trades: Zipf-Mandelbrot, drawn in constant time.

use crate::random::Random;

/// Flattens the head of the distribution: of 500 symbols the first then has 2.7 % of the ticks, about what the busiest
/// share on an exchange has, where plain Zipf would give it 15 %.
const OFFSET: f64 = 8.0;

/// A distribution over the symbols of a lane (Walker's alias method in Vose's form, 1991): each column of the table holds
/// its own symbol up to a threshold and another one above.
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
    /// The weight of the symbol with that rank, from 0. Division only: it is the same on every platform.
    pub(super) fn weight(rank: usize) -> f64 {
        1.0 / (rank as f64 + 1.0 + OFFSET)
    }

    /// The distribution over symbols of the given ranks.
    pub(super) fn new(ranks: &[u32]) -> Self {
        let weights: Vec<f64> = ranks.iter().map(|&rank| Self::weight(rank as usize)).collect();
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
        let popularity = Popularity::new(&ranks);
        let whole: f64 = ranks.iter().map(|&rank| Popularity::weight(rank as usize)).sum();
        let mut random = Random::new(5, 0);
        let mut drawn = [0.0; 5];
        for _ in 0..200_000 {
            drawn[popularity.draw(&mut random)] += 1.0 / 200_000.0;
        }
        for (share, rank) in drawn.into_iter().zip(ranks) {
            let expected = Popularity::weight(rank as usize) / whole;
            assert!((share - expected).abs() < 0.005, "rank {rank}: {share} for {expected}");
        }
    }
}
