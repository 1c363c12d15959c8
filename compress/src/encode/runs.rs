//! Classes of runs: which Huffman symbol stands for which lengths, and how many bits of the length
//! follow it (as with the distances of DEFLATE, RFC 1951, but fitted to the runs at hand).

use no_std_core::weights::{MAX_EXTRA_BITS, run_class};
use std::collections::BTreeMap;

/// Lengths of runs that share a symbol: `mantissa · 2^extra_bits` and the 2^extra_bits − 1 after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// `extra_bits << 3 | mantissa`, as in the image.
    pub(super) meaning: u8,
}

impl Class {
    pub(super) fn extra_bits(self) -> u32 {
        run_class(self.meaning).0
    }

    fn first(self) -> usize {
        let (extra_bits, mantissa) = run_class(self.meaning);
        (mantissa as usize) << extra_bits
    }

    pub(super) fn end(self) -> usize {
        self.first() + (1 << self.extra_bits())
    }

    /// The class that begins at a length and has this many extra bits, if there is one.
    fn beginning(first: usize, extra_bits: u32) -> Option<Self> {
        let mantissa = first >> extra_bits;
        let exact = mantissa << extra_bits == first && mantissa < 8;
        exact.then_some(Self {
            meaning: (extra_bits << 3) as u8 | mantissa as u8,
        })
    }

    /// What follows the symbol of a run.
    pub(super) fn extra(self, run: usize) -> u32 {
        (run - self.first()) as u32
    }
}

/// Bits that a class costs in the image before the first run of it: its meaning and its place in the
/// code.
const CLASS_BITS: f64 = 12.0;

/// Adjacent classes, from 0 past the longest run, that cost the fewest bits. `None` where a run is
/// longer than any class.
///
/// A class of n of the N runs costs `n·log₂(N/n)` bits of symbols and `n·extra_bits` after them, so
/// the best classes up to a length are the best up to where the last one begins, and that one.
pub(super) fn classes(runs: &[usize]) -> Option<Vec<Class>> {
    let mut sorted = runs.to_vec();
    sorted.sort_unstable();
    let longest = *sorted.last()?;
    let below = |length: usize| sorted.partition_point(|&run| run < length);
    let cost = |class: Class| {
        let n = (below(class.end()) - below(class.first())) as f64;
        let symbols = if n > 0.0 {
            n * (runs.len() as f64 / n).log2() + CLASS_BITS
        } else {
            0.0
        };
        symbols + n * class.extra_bits() as f64
    };
    // By where classes end: the least cost up to there, and the last class.
    let mut best: BTreeMap<usize, (f64, Option<Class>)> = BTreeMap::from([(0, (0.0, None))]);
    let mut end = 0;
    while end <= longest {
        let (so_far, _) = best[&end];
        for class in (0..=MAX_EXTRA_BITS).filter_map(|bits| Class::beginning(end, bits)) {
            let total = so_far + cost(class);
            let known = best.entry(class.end()).or_insert((f64::INFINITY, None));
            if total < known.0 {
                *known = (total, Some(class));
            }
        }
        end = *best.range(end + 1..).next()?.0;
    }
    let (&cheapest, _) = best
        .range(end..)
        .min_by(|(_, (a, _)), (_, (b, _))| a.total_cmp(b))?;
    let mut classes = Vec::new();
    let mut at = cheapest;
    while let Some(class) = best[&at].1 {
        classes.push(class);
        at = class.first();
    }
    classes.reverse();
    Some(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(classes: &[Class], runs: &[usize]) -> f64 {
        let count = |c: &Class| {
            runs.iter()
                .filter(|r| (c.first()..c.end()).contains(r))
                .count()
        };
        let cost = |c: &Class| match count(c) as f64 {
            0.0 => 0.0,
            n => n * ((runs.len() as f64 / n).log2() + c.extra_bits() as f64) + CLASS_BITS,
        };
        classes.iter().map(cost).sum()
    }

    /// Every sequence of adjacent classes that reaches past the longest run.
    fn all(from: usize, longest: usize) -> Vec<Vec<Class>> {
        if from > longest {
            return vec![Vec::new()];
        }
        let firsts = (0..=4).filter_map(|bits| Class::beginning(from, bits));
        firsts
            .flat_map(|first| {
                all(first.end(), longest).into_iter().map(move |mut rest| {
                    rest.insert(0, first);
                    rest
                })
            })
            .collect()
    }

    #[test]
    fn no_other_classes_are_cheaper() {
        for runs in [
            vec![0; 50],
            vec![0, 0, 0, 1, 1, 2, 5, 9],
            (0..200).map(|i| i * i % 13).collect(),
            (0..300)
                .map(|i| [1, 1, 1, 8, 10, 11][i % 6])
                .collect::<Vec<_>>(),
        ] {
            let found = classes(&runs).expect("short runs");
            assert!(
                found
                    .windows(2)
                    .all(|pair| pair[0].end() == pair[1].first())
            );
            let longest = *runs.iter().max().expect("some");
            let least = all(0, longest)
                .iter()
                .map(|classes| bits(classes, &runs))
                .fold(f64::INFINITY, f64::min);
            assert!(
                bits(&found, &runs) <= least + 1e-9,
                "{found:?} for {runs:?}"
            );
        }
    }

    #[test]
    fn runs_beyond_the_largest_class_have_none() {
        let limit = 8 << MAX_EXTRA_BITS;
        assert!(classes(&[3, limit - 1]).is_some());
        assert_eq!(classes(&[3, limit]), None);
        assert_eq!(classes(&[]), None);
    }
}
