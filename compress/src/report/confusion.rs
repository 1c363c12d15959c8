//! Which classes a model takes for which.

use serde::{Deserialize, Serialize};

/// Counts of examples by what they are and what the model says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// `counts[is][said]`; square, as wide as the largest class on either side.
    pub counts: Vec<Vec<usize>>,
}

/// The same examples before and after compression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusions {
    /// By the float model.
    pub float: Confusion,
    /// By the image's integers.
    pub image: Confusion,
}

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) is: usize,
    pub(crate) said: usize,
    pub(crate) float: usize,
    pub(crate) image: usize,
}

impl Confusion {
    /// Counts examples by their labels and by what a model said of them, both below `classes`, or
    /// more where either names more.
    pub fn count(labels: &[u32], said: &[u32], classes: usize) -> Self {
        let largest = labels.iter().chain(said).max();
        let side = largest.map_or(0, |&m| m as usize + 1).max(classes);
        let mut counts = vec![vec![0; side]; side];
        for (&is, &said) in labels.iter().zip(said) {
            counts[is as usize][said as usize] += 1;
        }
        Self { counts }
    }

    /// All examples.
    pub fn total(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// Those that were taken for another class.
    pub fn wrong(&self) -> usize {
        let right = |(i, row): (usize, &Vec<usize>)| row.get(i).copied().unwrap_or(0);
        self.total() - self.counts.iter().enumerate().map(right).sum::<usize>()
    }

    /// Examples of class `is` that were taken for `said`.
    pub fn at(&self, is: usize, said: usize) -> usize {
        let row = self.counts.get(is);
        row.and_then(|row| row.get(said)).copied().unwrap_or(0)
    }
}

impl Confusions {
    /// Classes of the wider of the two.
    pub(crate) fn side(&self) -> usize {
        self.float.counts.len().max(self.image.counts.len())
    }

    /// Mistakes of either, the image's most frequent first.
    pub(crate) fn mistakes(&self) -> Vec<Mistake> {
        let side = self.side();
        let pairs = (0..side).flat_map(|is| (0..side).map(move |said| (is, said)));
        let mistake = |(is, said)| Mistake {
            is,
            said,
            float: self.float.at(is, said),
            image: self.image.at(is, said),
        };
        let wrong = pairs.filter(|(is, said)| is != said).map(mistake);
        let mut mistakes: Vec<_> = wrong.filter(|m| m.float + m.image > 0).collect();
        mistakes.sort_by_key(|m| std::cmp::Reverse((m.image, m.float)));
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_counted_once() {
        let counted = Confusion::count(&[0, 0, 1, 2], &[0, 1, 1, 3], 3);
        assert_eq!((counted.total(), counted.wrong()), (4, 2));
        assert_eq!(counted.counts[0], [1, 1, 0, 0]);
        assert_eq!((counted.at(2, 3), counted.at(9, 9)), (1, 0));
    }

    #[test]
    fn mistakes_come_most_frequent_first() {
        let both = Confusions {
            float: Confusion::count(&[0, 1, 1], &[1, 1, 1], 2),
            image: Confusion::count(&[0, 1, 1], &[0, 0, 0], 2),
        };
        let mistakes = both.mistakes();
        assert_eq!(mistakes.len(), 2);
        assert_eq!((mistakes[0].is, mistakes[0].image), (1, 2));
    }
}
