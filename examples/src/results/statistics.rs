use serde::Serialize;

/// Of one figure over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Arithmetic.
    pub mean: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// The sample's standard deviation, its squares divided by one less than their number; 0 of a
    /// single value.
    pub deviation: f64,
}

impl Statistics {
    /// Of values, of which there is at least one.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Self {
            mean,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            deviation: (squares / (n - 1.0).max(1.0)).sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_that_of_a_sample() {
        // Mean 5; squares 9, 1, 16, sum 26, over 2 is 13.
        let of = Statistics::of([2.0, 4.0, 9.0]);
        assert_eq!((of.mean, of.min, of.max), (5.0, 2.0, 9.0));
        assert!((of.deviation - 13f64.sqrt()).abs() < 1e-12);
        let one = Statistics::of([7.0]);
        assert_eq!((one.mean, one.min, one.max), (7.0, 7.0, 7.0));
        assert_eq!(one.deviation, 0.0);
    }
}
