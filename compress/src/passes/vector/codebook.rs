//! Codebooks of vectors: k-means++ (Arthur & Vassilvitskii 2007) and Lloyd's iterations, or competitive
//! learning.
//!
//! A point is a slice of weights. One that is shorter than the codebook's entries, as the last vector of a
//! row may be, is compared with the beginning of each.

use super::competitive::Competition;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Entries of so many weights each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Codebook {
    dimension: usize,
    /// Entry by entry.
    values: Vec<f32>,
    /// The same by place in the entry, which makes all distances from a point a loop over neighbours.
    by_place: Vec<f32>,
}

/// Lloyd's iterations at most; the error falls by less than a percent in the later ones.
const MAX_ITERATIONS: usize = 50;

impl Codebook {
    pub(super) fn new(values: Vec<f32>, dimension: usize) -> Self {
        let entries = values.len() / dimension;
        let by_place = (0..dimension)
            .flat_map(|k| (0..entries).map(move |e| e * dimension + k))
            .map(|place| values[place])
            .collect();
        Self {
            dimension,
            values,
            by_place,
        }
    }

    /// Entries at these points.
    fn at<'p>(points: impl Iterator<Item = &'p [f32]>, dimension: usize) -> Self {
        let padded = |point: &'p [f32]| {
            let zeros = std::iter::repeat(&0.0);
            point.iter().chain(zeros).take(dimension)
        };
        Self::new(points.flat_map(padded).copied().collect(), dimension)
    }

    pub(super) fn into_values(self) -> Vec<f32> {
        self.values
    }

    fn entries(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// The place of the entry nearest to each point; of equals the first.
    pub(super) fn assign(&self, points: &[&[f32]]) -> Vec<u32> {
        let mut distances = vec![0.0; self.entries()];
        let nearest = |point: &&[f32]| {
            self.distances(point, &mut distances);
            let least = |best: usize, i: usize| {
                if distances[i] < distances[best] {
                    i
                } else {
                    best
                }
            };
            (0..distances.len()).fold(0, least) as u32
        };
        points.iter().map(nearest).collect()
    }

    /// Squared distances of a point from all entries.
    fn distances(&self, point: &[f32], distances: &mut [f32]) {
        distances.fill(0.0);
        for (&x, entries) in point.iter().zip(self.by_place.chunks(distances.len())) {
            for (distance, c) in distances.iter_mut().zip(entries) {
                *distance += (x - c) * (x - c);
            }
        }
    }

    /// Each entry at the mean of its points, place by place; where it has none, as it was.
    pub(super) fn means(&self, points: &[&[f32]], assigned: &[u32]) -> Self {
        let mut sums = vec![(0.0f64, 0usize); self.values.len()];
        for (point, &entry) in points.iter().zip(assigned) {
            let sums = &mut sums[entry as usize * self.dimension..][..point.len()];
            for ((sum, count), &x) in sums.iter_mut().zip(*point) {
                *sum += f64::from(x);
                *count += 1;
            }
        }
        let mean = |(&old, (sum, count)): (&f32, (f64, usize))| match count {
            0 => old,
            n => (sum / n as f64) as f32,
        };
        let values = self.values.iter().zip(sums).map(mean).collect();
        Self::new(values, self.dimension)
    }

    /// K-means from [`plus_plus`], until nothing moves.
    pub(super) fn k_means(
        points: &[&[f32]],
        entries: usize,
        dimension: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let mut book = Self::at(plus_plus(points, entries, rng), dimension);
        for _ in 0..MAX_ITERATIONS {
            let next = book.means(points, &book.assign(points));
            if next == book {
                break;
            }
            book = next;
        }
        book
    }

    /// Where competitive learning ends that began at points drawn at random.
    pub(super) fn competitive(
        points: &[&[f32]],
        entries: usize,
        dimension: usize,
        rule: Competition,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let drawn: Vec<usize> = (0..entries)
            .map(|_| rng.random_range(0..points.len()))
            .collect();
        let mut book = Self::at(drawn.into_iter().map(|i| points[i]), dimension);
        book.values = rule.learn(points, book.values, dimension, rng);
        Self::new(book.values, dimension)
    }
}

/// The first point at random, every other with a probability that grows with the square of its distance
/// from those there are.
fn plus_plus<'p>(
    points: &[&'p [f32]],
    entries: usize,
    rng: &mut ChaCha8Rng,
) -> impl Iterator<Item = &'p [f32]> {
    let first = points[rng.random_range(0..points.len())];
    let mut chosen = vec![first];
    let mut far: Vec<f64> = points.iter().map(|p| squared(p, first)).collect();
    while chosen.len() < entries {
        let mut left = rng.random::<f64>() * far.iter().sum::<f64>();
        let reached = |far: &f64| {
            left -= far;
            left < 0.0
        };
        let next = points[far.iter().position(reached).unwrap_or(0)];
        chosen.push(next);
        for (far, point) in far.iter_mut().zip(points) {
            *far = far.min(squared(point, next));
        }
    }
    chosen.into_iter()
}

/// The squared distance over the places that both points have.
pub(super) fn squared(a: &[f32], b: &[f32]) -> f64 {
    let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    a.iter().zip(b).map(square).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    /// Four clusters far apart, each of points within 0.1 of its centre.
    const CENTRES: [[f32; 2]; 4] = [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-3.0, -3.0]];

    fn clustered() -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let near = |c: &f32, rng: &mut ChaCha8Rng| c + rng.random_range(-0.1..0.1f32);
        (0..400)
            .flat_map(|i| CENTRES[i % 4])
            .map(|c| near(&c, &mut rng))
            .collect()
    }

    fn assert_finds_the_clusters(book: &Codebook) {
        for centre in CENTRES {
            let nearest = book.values.chunks(2).map(|e| squared(e, &centre));
            let nearest = nearest.fold(f64::MAX, f64::min);
            assert!(nearest.sqrt() < 0.05, "{nearest} at {centre:?}");
        }
    }

    #[test]
    fn k_means_finds_clusters_and_leaves_no_point_at_another_entry() {
        let values = clustered();
        let points: Vec<&[f32]> = values.chunks(2).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        assert_finds_the_clusters(&Codebook::k_means(&points, 4, 2, &mut rng));
        let many = Codebook::k_means(&points, 16, 2, &mut rng);
        for (point, entry) in points.iter().zip(many.assign(&points)) {
            let least = many.values.chunks(2).map(|e| squared(e, point));
            let least = least.fold(f64::MAX, f64::min);
            let chosen = squared(&many.values[2 * entry as usize..][..2], point);
            assert!(chosen <= least + 1e-6);
        }
    }

    /// The second place of an entry is the mean of the points that have one.
    #[test]
    fn short_points_count_where_they_are() {
        let points: [&[f32]; 3] = [&[1.0, 5.0], &[3.0], &[-9.0, 0.0]];
        let book = Codebook::new(vec![2.0, 9.0, -8.0, 1.0], 2);
        let assigned = book.assign(&points);
        assert_eq!(assigned, [0, 0, 1]);
        let means = book.means(&points, &assigned).values;
        assert_eq!(means, [2.0, 5.0, -9.0, 0.0]);
    }
}
