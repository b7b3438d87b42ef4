//! The last prices of a symbol, their median, and their median absolute deviation (MAD).
//!
//! This file owns the sliding window of a fixed number of prices. It does *not* own what a far price is.

/// The longest window: a price's place in it is one byte.
pub(super) const WINDOW_MAX: usize = u8::MAX as usize;

/// The windows of many symbols, one behind the other. What a tick touches lies together, without pointers to follow.
#[derive(Debug)]
pub(super) struct MedianWindows {
    window: usize,
    prices: Vec<f64>,
    order: Vec<u8>,
}

/// How far a window is filled, and where it goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ring {
    len: u8,
    /// The place of the oldest price, once the window is full.
    oldest: u8,
}

impl MedianWindows {
    /// No windows yet. Each will hold at most `window` prices, from 1 to [`WINDOW_MAX`].
    pub(super) fn new(window: usize) -> Self {
        Self { window, prices: Vec::new(), order: Vec::new() }
    }

    /// Bytes of one window.
    pub(super) fn window_bytes(&self) -> usize {
        self.window * (size_of::<f64>() + size_of::<u8>())
    }

    /// Empties the window in `slot`, or makes an empty one. A new [`Ring`] belongs to it from now on.
    pub(super) fn clear(&mut self, slot: usize) {
        let (start, end) = (slot * self.window, (slot + 1) * self.window);
        if self.prices.len() < end {
            self.prices.resize(end, f64::INFINITY);
            self.order.resize(end, 0);
        }
        self.prices[start..end].fill(f64::INFINITY);
    }

    /// The price in the window in `slot` that was pushed `back` pushes before the last one, if it is still there.
    pub(super) fn latest(&self, slot: usize, ring: Ring, back: usize) -> Option<f64> {
        let len = usize::from(ring.len);
        if back >= len {
            return None;
        }
        // A window that is not full begins at its first place.
        let end = if len == self.window { usize::from(ring.oldest) + self.window } else { len };
        Some(self.prices[slot * self.window + (end - 1 - back) % self.window])
    }

    /// The window in `slot`.
    pub(super) fn get<'a>(&'a mut self, slot: usize, ring: &'a mut Ring) -> MedianWindow<'a> {
        let places = slot * self.window..(slot + 1) * self.window;
        MedianWindow { prices: &mut self.prices[places.clone()], order: &mut self.order[places], ring }
    }
}

/// A ring of prices, and their order beside it.
///
/// A push finds the oldest price's place in the order, counts the prices that the new one is not below, and moves the
/// places between the two by one. That is O(window), but no branch depends on a price: it is a search for one byte, a
/// count over neighbouring numbers, and a move within a cache line or two. For 50 prices, the whole window takes 450
/// bytes. A heap or a tree would then cost more in pointers than it saves in steps.
#[derive(Debug)]
pub(super) struct MedianWindow<'a> {
    /// The prices by place. Places that are not filled yet hold infinity.
    prices: &'a mut [f64],
    /// The places of the prices, lowest price first, the older of equal ones first. Only the first [`Ring::len`] are
    /// set.
    order: &'a mut [u8],
    ring: &'a mut Ring,
}

impl MedianWindow<'_> {
    /// Whether the next push removes the oldest price.
    pub(super) fn is_full(&self) -> bool {
        self.len() == self.prices.len()
    }

    fn len(&self) -> usize {
        usize::from(self.ring.len)
    }

    /// Adds `price`, which is finite, and removes the oldest price if the window is full.
    pub(super) fn push(&mut self, price: f64) {
        // Counted before the new price replaces the oldest one. The rank without the oldest one follows from it.
        let rank = self.prices.iter().map(|&other| usize::from(other <= price)).sum::<usize>();
        if !self.is_full() {
            let place = self.len();
            self.order.copy_within(rank..place, rank + 1);
            self.order[rank] = place as u8;
            self.prices[place] = price;
            self.ring.len += 1;
            return;
        }
        let place = self.ring.oldest;
        let at = usize::from(place);
        self.ring.oldest = if at + 1 == self.prices.len() { 0 } else { place + 1 };
        let rank = rank - usize::from(self.prices[at] <= price);
        self.prices[at] = price;
        // Exactly one place matches. The loop still looks at all, so that it handles a register of them at a time.
        let left =
            self.order.iter().zip(0_u8..).fold(0, |left, (&other, rank)| left | if other == place { rank } else { 0 });
        let left = usize::from(left);
        // The places between the rank that becomes free and the rank that is taken move up or down.
        if left < rank {
            self.order.copy_within(left + 1..=rank, left);
        } else {
            self.order.copy_within(rank..left, rank + 1);
        }
        self.order[rank] = place;
    }

    /// The median of the prices: for an even number, the middle between the inner two. `None` if there are none.
    pub(super) fn median(&self) -> Option<f64> {
        let count = self.len();
        // For an odd number, both are the same.
        Some(f64::midpoint(self.ranked(count.checked_sub(1)? / 2), self.ranked(count / 2)))
    }

    /// The median of the distances from `center`: for an even number, the middle between the inner two.
    ///
    /// The distances rise in both directions from `center` along the order, so the smallest ones are found by walking
    /// outwards, without sorting: O(window). `None` if there are no prices.
    pub(super) fn median_distance(&self, center: f64) -> Option<f64> {
        let count = self.len();
        let mut above = self.order[..count].partition_point(|&place| self.prices[usize::from(place)] < center);
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

    /// Whether the next push goes to the first place.
    pub(super) fn is_at_start(&self) -> bool {
        self.ring.oldest == 0
    }

    /// The prices, in no particular order.
    pub(super) fn prices(&self) -> &[f64] {
        &self.prices[..self.len()]
    }

    /// Moves all prices but the last `count` by the distance from `level` to the median of the last `count`. They then
    /// lie around that median as they did around `level`. Returns the median.
    pub(super) fn adopt(&mut self, count: usize, level: f64) -> f64 {
        let count = count.clamp(1, self.len());
        let mut prices = self.prices().to_vec();
        if self.is_full() {
            prices.rotate_left(usize::from(self.ring.oldest));
        }
        let (older, newer) = prices.split_at_mut(self.len() - count);
        let mut sorted = newer.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        for price in older {
            *price = (*price + (median - level)).clamp(0.0, f64::MAX);
        }
        self.prices.fill(f64::INFINITY);
        *self.ring = Ring::default();
        for price in prices {
            self.push(price);
        }
        median
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
            let (mut windows, mut ring) = (MedianWindows::new(window), Ring::default());
            // The slot was used before, and lies between two others.
            (0..3).for_each(|slot| windows.clear(slot));
            let mut used = Ring::default();
            for &price in &prices {
                windows.get(1, &mut used).push(-price);
            }
            windows.clear(1);
            prop_assert_eq!(windows.get(1, &mut ring).median(), None);
            for (at, &price) in prices.iter().enumerate() {
                let mut tested = windows.get(1, &mut ring);
                tested.push(price);
                for back in 0..3 {
                    let expected = (back < window && back <= at).then(|| prices[at - back]);
                    prop_assert_eq!(windows.latest(1, ring, back), expected);
                }
                let tested = windows.get(1, &mut ring);
                let last = &prices[(at + 1).saturating_sub(window)..=at];
                let median = naive::median(last);
                prop_assert_eq!(tested.median(), Some(median));
                prop_assert_eq!(tested.median_distance(median), Some(naive::mad(last)));
                prop_assert_eq!(tested.is_full(), last.len() == window);
            }
        }
    }

    #[test]
    fn new_level_is_adopted_with_the_spread_of_the_old_one() {
        for pushes in [4, 6, 9] {
            let (mut windows, mut ring) = (MedianWindows::new(6), Ring::default());
            windows.clear(0);
            let mut window = windows.get(0, &mut ring);
            (0..pushes).for_each(|at| window.push(f64::from(10 + at % 2)));
            for price in [20.0, 20.0, 21.0] {
                window.push(price);
            }
            assert_eq!(window.adopt(3, 10.0), 20.0);
            let mut prices = window.prices().to_vec();
            prices.sort_by(f64::total_cmp);
            assert!(prices.iter().all(|price| [20.0, 21.0].contains(price)), "{prices:?}");
            assert_eq!(prices.len(), 6);
            window.push(30.0);
            assert_eq!(windows.latest(0, ring, 1), Some(21.0), "{pushes}");
        }
    }

    #[test]
    fn largest_prices_do_not_overflow() {
        let (mut windows, mut ring) = (MedianWindows::new(2), Ring::default());
        windows.clear(0);
        let mut window = windows.get(0, &mut ring);
        window.push(f64::MAX);
        window.push(f64::MAX);
        assert_eq!(window.median(), Some(f64::MAX));
        assert_eq!(window.median_distance(0.0), Some(f64::MAX));
    }
}
