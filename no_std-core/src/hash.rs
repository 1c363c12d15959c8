//! Which weights of a hashed matrix share a value (HashedNets; Chen et al. 2015): training and every
//! device compute the same group and sign from a weight's place, so that neither is stored.
//!
//! The hash of (row, column) is two rounds of MurmurHash3's finalizer, `mix`: shifts, exclusive ors
//! and two 32-bit products, all of which a Cortex-M0 has. One round per row makes a key, one per weight
//! turns the key and the column into 32 bits:
//!
//! ```text
//! key  = mix(seed + row · 0x9e3779b9)
//! hash = mix(key ^ column · 0x9e3779b9)                all modulo 2³²
//! group = hash · groups >> 32                          no division, any number of groups
//! sign  = − where the hash is odd, if signs are wanted
//! ```
//!
//! The group depends on the upper bits of the hash and the sign on the lowest, which is as good as
//! independent of them while groups are far fewer than 2³¹. A weaker mix (a product and a shift, say)
//! shows as rows that share their values in the same order: columns differ in a few low bits only.

/// 2³² / φ, odd: consecutive rows or columns come to lie far apart.
const GOLDEN: u32 = 0x9e37_79b9;

/// The finalizer of MurmurHash3 (Appleby 2011), a permutation of 32-bit numbers each of whose bits
/// depends on all bits.
#[inline(always)]
const fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}

/// Groups of the weights of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    /// Tells matrices of the same shape apart.
    pub seed: u32,
    /// How many groups, and thus values, there are.
    pub groups: u32,
    /// Whether half of the weights are their group's value with the other sign.
    pub signed: bool,
}

/// Groups of the weights of a row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    key: u32,
    hash: Hash,
}

impl Hash {
    /// The groups of a row: an output channel.
    #[inline]
    pub const fn row(&self, row: u32) -> Row {
        Row {
            key: mix(self.seed.wrapping_add(row.wrapping_mul(GOLDEN))),
            hash: *self,
        }
    }
}

impl Row {
    /// The group of the weight in a column, below the number of groups (0 where there are none), and
    /// whether the weight is the group's value negated.
    #[inline(always)]
    pub const fn at(&self, column: u32) -> (u32, bool) {
        let hash = mix(self.key ^ column.wrapping_mul(GOLDEN));
        // Below `groups`, because `hash` is below 2³².
        let group = ((hash as u64 * self.hash.groups as u64) >> 32) as u32;
        (group, self.hash.signed && hash & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn sizes(hash: &Hash, rows: u32, columns: u32) -> Vec<[f64; 2]> {
        let mut sizes = vec![[0.0; 2]; hash.groups as usize];
        for row in 0..rows {
            for column in 0..columns {
                let (group, negative) = hash.row(row).at(column);
                sizes[group as usize][negative as usize] += 1.0;
            }
        }
        sizes
    }

    /// MurmurHash3's published finalizer, by its own test values.
    #[test]
    fn the_mix_is_murmur3s() {
        assert_eq!(mix(0), 0);
        assert_eq!(mix(1), 0x514e_28b7);
        assert_eq!(mix(0xffff_ffff), 0x81f1_6f39);
    }

    /// Four places worked out by another implementation of the description above.
    #[test]
    fn the_hash_never_changes() {
        let hash = Hash {
            seed: 7,
            groups: 1000,
            signed: true,
        };
        let seen = [(0, 0), (0, 1), (1, 0), (999, 783)].map(|(r, c)| hash.row(r).at(c));
        let pinned = [(403, false), (577, true), (419, true), (282, false)];
        assert_eq!(seen, pinned);
    }

    /// 100 × 100 weights in 1,000 groups: ten each on average, spread as by chance. χ² of 999 degrees
    /// of freedom has mean 999 and standard deviation 44.7.
    #[test]
    fn groups_are_even() {
        for seed in 0..20 {
            let hash = Hash {
                seed,
                groups: 1000,
                signed: true,
            };
            let sizes = sizes(&hash, 100, 100);
            let totals = sizes.iter().map(|[plus, minus]| plus + minus);
            assert_eq!(totals.clone().sum::<f64>() / 1000.0, 10.0);
            let chi2: f64 = totals.map(|n| (n - 10.0) * (n - 10.0) / 10.0).sum();
            assert!((chi2 - 999.0).abs() < 4.5 * 44.7, "seed {seed}: {chi2}");
            let negative: f64 = sizes.iter().map(|s| s[1]).sum();
            assert!(
                (negative - 5000.0).abs() < 4.5 * 50.0,
                "seed {seed}: {negative}"
            );
        }
    }

    /// Within a group, signs are as by chance: Σ(plus − minus)² has the weights' number as its mean.
    #[test]
    fn signs_do_not_follow_groups() {
        let hash = Hash {
            seed: 3,
            groups: 50,
            signed: true,
        };
        let sizes = sizes(&hash, 100, 100);
        let squares: f64 = sizes.iter().map(|[p, m]| (p - m) * (p - m)).sum();
        // 50 squares of variance 200 each: mean 10,000, standard deviation 200·√(2·50).
        assert!((squares - 10_000.0).abs() < 4.5 * 2_000.0, "{squares}");
    }

    /// Two weights of one row share a value as often as two of different rows in the same column, or
    /// one further: about once in `groups`.
    #[test]
    fn neighbours_do_not_share_more() {
        let hash = Hash {
            seed: 1,
            groups: 100,
            signed: false,
        };
        let same = |dr: u32, dc: u32| {
            let pairs = (0..200u32).flat_map(|r| (0..200u32).map(move |c| (r, c)));
            pairs
                .filter(|&(r, c)| hash.row(r).at(c) == hash.row(r + dr).at(c + dc))
                .count() as f64
        };
        for (dr, dc) in [(0, 1), (1, 0), (1, 1), (0, 2), (0, 28), (2, 1), (16, 0)] {
            let seen = same(dr, dc);
            assert!((seen - 400.0).abs() < 4.5 * 20.0, "({dr}, {dc}): {seen}");
        }
    }
}
