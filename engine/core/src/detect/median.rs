//! The last prices of a symbol, their median, and their median absolute deviation (MAD).
//!
//! This file owns the sliding window of a fixed number of prices. It does *not* own what a far price is.

/// The longest window: a price's place in it is one byte.
pub(super) const WINDOW_MAX: usize = u8::MAX as usize;

/// A ring of prices, and beside it their order.
///
/// A push finds the oldest price's place in the order, and moves the places between it and the newest price's by one.
/// That is O(window), but a move of at most `window` bytes, which are a cache line or two: at 50 prices a heap or a tree
/// would cost more in pointers than it saves in steps, and the whole window takes 450 bytes.
#[derive(Debug)]
pub(super) struct MedianWindow {
    /// The prices by place. Until the window is full, only the first `order.len()` are set.
    prices: Box<[f64]>,
    /// The places of the prices, lowest price first.
    order: Vec<u8>,
    /// The place of the oldest price, once the window is full.
    oldest: u8,
}

impl MedianWindow {
    /// An empty window of at most `window` prices, of which there are 1 to [`WINDOW_MAX`].
    pub(super) fn new(window: usize) -> Self {
        Self { prices: vec![0.0; window].into(), order: Vec::with_capacity(window), oldest: 0 }
    }

    /// Whether a push will push out the oldest price.
    pub(super) fn is_full(&self) -> bool {
        self.order.len() == self.prices.len()
    }

    /// Adds `price`, and removes the oldest price if the window is full.
    pub(super) fn push(&mut self, price: f64) {
        let place = if self.is_full() { self.remove_oldest() } else { self.order.len() as u8 };
        let rank = self.order.partition_point(|&other| self.prices[usize::from(other)] <= price);
        self.prices[usize::from(place)] = price;
        self.order.insert(rank, place);
    }

    /// Takes the oldest price out of the order, and returns its place, which is now free.
    fn remove_oldest(&mut self) -> u8 {
        let place = self.oldest;
        self.oldest = ((usize::from(place) + 1) % self.prices.len()) as u8;
        self.order.retain(|&other| other != place);
        place
    }

    /// The median of the prices, of an even number the middle between the inner two; `None` if there are none.
    pub(super) fn median(&self) -> Option<f64> {
        let count = self.order.len();
        // Of an odd number, both are the same.
        Some(f64::midpoint(self.ranked(count.checked_sub(1)? / 2), self.ranked(count / 2)))
    }

    /// The median of the distances from `center`; of an even number, the middle between the inner two.
    ///
    /// The distances rise in both directions from `center` along the order, so the smallest ones are found by walking
    /// outwards, without sorting: O(window). `None` if there are no prices.
    pub(super) fn median_distance(&self, center: f64) -> Option<f64> {
        let count = self.order.len();
        let mut above = self.order.partition_point(|&place| self.prices[usize::from(place)] < center);
        let mut below = above;
        let mut nearest = || {
            let down = if below > 0 { center - self.ranked(below - 1) } else { f64::INFINITY };
            let up = if above < count { self.ranked(above) - center } else { f64::INFINITY };
            if down < up {
                below -= 1;
                down
            } else {
                above += 1;
                up
            }
        };
        let mut lower = 0.0;
        for _ in 0..=count.checked_sub(1)? / 2 {
            lower = nearest();
        }
        let upper = if count.is_multiple_of(2) { nearest() } else { lower };
        Some(f64::midpoint(lower, upper))
    }

    fn ranked(&self, rank: usize) -> f64 {
        self.prices[usize::from(self.order[rank])]
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::naive;
    use super::*;

    proptest! {
        #[test]
        fn median_and_mad_are_those_of_the_sorted_last_prices(
            window in 1_usize..=WINDOW_MAX,
            prices in vec(prop_oneof![(0_u32..20).prop_map(f64::from), 0.0..1e6], 1..600),
        ) {
            let mut tested = MedianWindow::new(window);
            prop_assert_eq!(tested.median(), None);
            for (at, &price) in prices.iter().enumerate() {
                tested.push(price);
                let last = &prices[(at + 1).saturating_sub(window)..=at];
                let median = naive::median(last);
                prop_assert_eq!(tested.median(), Some(median));
                prop_assert_eq!(tested.median_distance(median), Some(naive::mad(last)));
                prop_assert_eq!(tested.is_full(), last.len() == window);
            }
        }
    }

    #[test]
    fn largest_prices_do_not_overflow() {
        let mut window = MedianWindow::new(2);
        window.push(f64::MAX);
        window.push(f64::MAX);
        assert_eq!(window.median(), Some(f64::MAX));
        assert_eq!(window.median_distance(0.0), Some(f64::MAX));
    }
}
