//! What trades look like: the figures by which a model market is compared with a real one. Only tests need them.

/// The stylised facts of one symbol's trades.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// The share of trades at the price of the one before.
    pub(super) unchanged: f64,
    /// The excess kurtosis of the returns of a second.
    pub(super) kurtosis: f64,
    /// The autocorrelation of the absolute returns of a second at lag 1.
    pub(super) clustering: f64,
    /// The mean time between two trades, in seconds, and its coefficient of variation.
    pub(super) duration: f64,
    pub(super) variation: f64,
}

impl Facts {
    /// Of trades in the order of event time: microseconds and price.
    pub(super) fn of(trades: &[(i64, f64)]) -> Self {
        let pairs = || trades.windows(2).map(|pair| (pair[0], pair[1]));
        let durations: Vec<f64> = pairs().map(|(a, b)| (b.0 - a.0) as f64 / 1e6).collect();
        let (duration, deviation) = (mean(&durations), mean_square(&durations, mean(&durations)).sqrt());
        let returns = returns(trades);
        let (of, variance) = (mean(&returns), mean_square(&returns, mean(&returns)));
        let fourth = returns.iter().map(|x| (x - of).powi(4)).sum::<f64>() / returns.len() as f64;
        let absolute: Vec<f64> = returns.iter().map(|x| x.abs()).collect();
        let (level, spread) = (mean(&absolute), mean_square(&absolute, mean(&absolute)));
        let together = absolute.windows(2).map(|pair| (pair[0] - level) * (pair[1] - level)).sum::<f64>();
        Self {
            unchanged: pairs().filter(|(a, b)| a.1 == b.1).count() as f64 / durations.len() as f64,
            kurtosis: fourth / variance.powi(2) - 3.0,
            clustering: together / absolute.len() as f64 / spread,
            duration,
            variation: deviation / duration,
        }
    }
}

/// Of the last prices of each second.
fn returns(trades: &[(i64, f64)]) -> Vec<f64> {
    let mut lasts: Vec<f64> = Vec::new();
    let first = trades[0].0.div_euclid(1_000_000);
    for &(ts_us, price) in trades {
        let second = (ts_us.div_euclid(1_000_000) - first) as usize;
        let before = lasts.last().copied().unwrap_or(price);
        lasts.resize(second + 1, before);
        lasts[second] = price;
    }
    lasts.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn mean_square(numbers: &[f64], around: f64) -> f64 {
    numbers.iter().map(|x| (x - around).powi(2)).sum::<f64>() / numbers.len() as f64
}
