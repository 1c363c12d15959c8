//! The discrete cosine transform of the bands' logarithms.

use super::wave::{ONE, Wave};

/// DCT-II; its first coefficient is the mean, the others are orthonormal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dct<'t> {
    /// A turn has four times as many steps as there are bands; the amplitude is √(2/bands).
    cosines: Wave<'t>,
}

impl<'t> Dct<'t> {
    /// Fills the table of `bands + 1` elements, or none where there is no transform.
    pub(super) fn fill(table: &'t mut [i32], bands: usize) -> Self {
        let amplitude = root((2 << 60) / bands.max(2) as i64);
        Self {
            cosines: Wave::fill(table, amplitude),
        }
    }

    /// Coefficient `k`, below the number of bands, of logarithms in Q15 below 2²¹ in magnitude: in Q15
    /// too, below 2²⁶.
    #[inline(always)]
    pub(super) fn coefficient(&self, logs: &[i32], k: usize) -> i64 {
        if k == 0 {
            let mean_q30 = ONE / logs.len().max(1) as i64;
            return (sum(logs.iter().map(|&log| i64::from(log))) * mean_q30) >> 30;
        }
        let turn = 4 * self.cosines.steps();
        let mut angle = k;
        let products = logs.iter().map(|&log| {
            let product = i64::from(log) * i64::from(self.cosines.cos(angle));
            // k is below a quarter of the turn.
            angle += 2 * k;
            if angle >= turn {
                angle -= turn;
            }
            product
        });
        // Up to 128 products below 2⁵¹ · √(2/bands).
        (sum(products) + (1 << 29)) >> 30
    }
}

/// √x rounded down, of an x up to 2⁶⁰, bit by bit.
fn root(x: i64) -> i64 {
    (0..=30).rev().fold(0, |root, bit| {
        let longer = root | 1 << bit;
        if longer * longer <= x { longer } else { root }
    })
}

fn sum(terms: impl Iterator<Item = i64>) -> i64 {
    terms.fold(0, i64::wrapping_add)
}
