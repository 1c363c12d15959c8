use nalgebra::{DMatrix, SVD};

/// A matrix as `U·S·Vᵀ`, singular values in descending order.
#[derive(Clone, Debug)]
pub struct Svd {
    decomposition: SVD<f64, nalgebra::Dyn, nalgebra::Dyn>,
    rows: usize,
    columns: usize,
}

impl Svd {
    /// Decomposes a row-major matrix of `rows × columns`.
    ///
    /// # Panics
    /// When the values do not fill the matrix.
    pub fn new(rows: usize, columns: usize, values: &[f32]) -> Self {
        assert_eq!(values.len(), rows * columns, "values must fill the matrix");
        let values = values.iter().map(|&v| f64::from(v));
        let matrix = DMatrix::from_row_iterator(rows, columns, values);
        Self {
            decomposition: SVD::new(matrix, true, true),
            rows,
            columns,
        }
    }

    /// Singular values, descending.
    pub fn singular_values(&self) -> &[f64] {
        self.decomposition.singular_values.as_slice()
    }

    /// The smallest rank that keeps this share of the squares of all singular values, one at least.
    pub fn rank_of_energy(&self, share: f64) -> usize {
        let squares: Vec<f64> = self.singular_values().iter().map(|s| s * s).collect();
        let wanted = share * squares.iter().sum::<f64>();
        let mut kept = 0.0;
        let reaches = |square: &f64| {
            kept += square;
            kept >= wanted
        };
        let place = squares.iter().position(reaches);
        place.map_or(squares.len(), |place| place + 1)
    }

    /// The nearest matrix of this rank (Eckart & Young 1936) as a product of `U·√S`, `[rows, rank]`,
    /// and `√S·Vᵀ`, `[rank, columns]`: both of one scale, as integer grids like them.
    pub fn factors(&self, rank: usize) -> [Vec<f32>; 2] {
        let (Some(u), Some(vt)) = (&self.decomposition.u, &self.decomposition.v_t) else {
            return [Vec::new(), Vec::new()];
        };
        let root = |k: usize| self.decomposition.singular_values[k].sqrt();
        let cell = |row, k| (u[(row, k)] * root(k)) as f32;
        let left = (0..self.rows).flat_map(|row| (0..rank).map(move |k| cell(row, k)));
        let cell = |k, column| (vt[(k, column)] * root(k)) as f32;
        let right = (0..rank).flat_map(|k| (0..self.columns).map(move |c| cell(k, c)));
        [left.collect(), right.collect()]
    }

    /// Parameters of a product of this rank.
    pub fn parameters(&self, rank: usize) -> usize {
        rank * (self.rows + self.columns)
    }

    /// The largest rank with fewer parameters than the matrix: below `rows·columns / (rows + columns)`,
    /// half the harmonic mean.
    pub fn largest_rank(&self) -> usize {
        largest_rank(self.rows, self.columns)
    }
}

/// The largest rank of which a product has fewer parameters than its `rows × columns`; 0 where none has.
pub fn largest_rank(rows: usize, columns: usize) -> usize {
    (rows * columns).saturating_sub(1) / (rows + columns).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(svd: &Svd, rank: usize) -> Vec<f32> {
        let [u, v] = svd.factors(rank);
        let cell = |row: usize, column: usize| {
            let pairs = (0..rank).map(|k| u[row * rank + k] * v[k * svd.columns + column]);
            pairs.sum::<f32>()
        };
        let rows = (0..svd.rows).flat_map(|r| (0..svd.columns).map(move |c| (r, c)));
        rows.map(|(r, c)| cell(r, c)).collect()
    }

    #[test]
    fn a_small_matrix_by_hand() {
        // [[3, 0], [4, 5]] has WᵀW = [[25, 20], [20, 25]], of eigenvalues 45 and 5.
        let svd = Svd::new(2, 2, &[3.0, 0.0, 4.0, 5.0]);
        let s = svd.singular_values();
        assert!((s[0] - 45f64.sqrt()).abs() < 1e-12 && (s[1] - 5f64.sqrt()).abs() < 1e-12);
        // Rank 1: s₀·u·vᵀ with v = (1, 1)/√2 and u = Wv/s₀ = (3, 9)/√90.
        let nearest = product(&svd, 1);
        for (got, wanted) in nearest.iter().zip([1.5, 1.5, 4.5, 4.5]) {
            assert!((got - wanted).abs() < 1e-6, "{nearest:?}");
        }
        assert_eq!([0.5, 0.89, 0.91].map(|e| svd.rank_of_energy(e)), [1, 1, 2]);
    }

    /// The squared distance to the nearest matrix of a rank is the sum of the squares of the singular
    /// values left out, for a wide matrix and a tall one.
    #[test]
    fn the_error_is_the_tail() {
        for (rows, columns) in [(7, 12), (12, 7)] {
            let wave = |i: usize| ((i * i + 3 * i) as f32 * 0.37).sin();
            let values: Vec<f32> = (0..rows * columns).map(wave).collect();
            let svd = Svd::new(rows, columns, &values);
            for rank in 1..=7 {
                let pairs = product(&svd, rank).into_iter().zip(&values);
                let error: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
                let tail: f64 = svd.singular_values()[rank..].iter().map(|s| s * s).sum();
                assert!((error - tail).abs() < 1e-4 * tail + 1e-10, "{error} {tail}");
            }
        }
    }

    /// The source's checks: ratios 5.0 and 1.667, break-even at 50 and 33.3.
    #[test]
    fn parameters_and_the_break_even() {
        let ratio = |rows: usize, columns: usize, rank: usize| {
            (rows * columns) as f64 / (rank * (rows + columns)) as f64
        };
        assert_eq!(ratio(100, 100, 10), 5.0);
        assert!((ratio(100, 50, 20) - 1.667).abs() < 1e-3);
        assert_eq!([largest_rank(100, 100), largest_rank(100, 50)], [49, 33]);
        assert_eq!([largest_rank(1, 9), largest_rank(2, 2)], [0, 0]);
    }
}
