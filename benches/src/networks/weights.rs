//! What random weights look like.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// What a layer's weights look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Weights {
    /// Any of int8's symmetric grid.
    Any,
    /// One of four, equally often.
    Four,
    /// So many in a hundred are not zero, and small ones of those are common.
    Sparse(u32),
    /// A common one and rare ones.
    Skewed,
}

impl Weights {
    pub(super) fn draw(self, random: &mut ChaCha8Rng) -> i8 {
        let bits = random.next_u32();
        match self {
            Self::Any => (bits as i8).max(-127),
            Self::Four => [-90, -20, 31, 77][bits as usize % 4],
            Self::Sparse(percent) if bits % 100 >= percent => 0,
            Self::Sparse(_) => {
                let magnitude = 30 + 18 * ((bits >> 8) as u8).leading_zeros().min(5) as i8;
                if bits >> 31 == 0 {
                    magnitude
                } else {
                    -magnitude
                }
            }
            Self::Skewed => [5, 5, 5, 5, 5, 5, 5, -70, 5, 5, 5, 118][bits as usize % 12],
        }
    }

    /// Root of the mean square, by the definition above.
    pub(super) fn deviation(self) -> f64 {
        match self {
            Self::Any => 74.0,
            Self::Four => 61.0,
            Self::Sparse(percent) => 45.0 * (f64::from(percent) / 100.0).sqrt(),
            Self::Skewed => 40.0,
        }
    }
}
