//! The report of a compression: what a file holds, and what it lost.

use crate::encode::{Layer, Ledger};
use crate::pipeline::{Compressed, Figures};
use serde::{Deserialize, Serialize};
pub use trainer::train::Measure;

/// A model's bytes and, where data was given, its error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sized {
    /// Of the whole file; for the float model four bytes a parameter.
    pub bytes: usize,
    /// Absent without data.
    #[serde(flatten)]
    pub measure: Option<Measure>,
}

/// Everything about one compression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the graph.
    pub model: String,
    /// Of every random choice.
    pub seed: u64,
    /// Before.
    pub float: Sized,
    /// After.
    pub image: Sized,
    /// Float bytes over image bytes.
    pub ratio: f64,
    /// Every byte of the image.
    pub ledger: Ledger,
    /// Every weight matrix.
    pub layers: Vec<Layer>,
    /// Working memory of an inference.
    pub arena_bytes: usize,
    /// Dense multiply-accumulates of the float model.
    pub macs: u64,
    /// What each pass did.
    pub stages: Vec<Figures>,
}

impl Report {
    /// Of a float model of `parameters` scalars and `macs` multiply-accumulates, and what became of
    /// it.
    pub fn new(
        model: &str,
        seed: u64,
        parameters: usize,
        macs: u64,
        compressed: &Compressed,
    ) -> Self {
        let (float, image) = (4 * parameters, compressed.encoded.bytes.len());
        Self {
            model: model.to_owned(),
            seed,
            float: Sized {
                bytes: float,
                measure: None,
            },
            image: Sized {
                bytes: image,
                measure: None,
            },
            ratio: float as f64 / image as f64,
            ledger: compressed.encoded.ledger,
            layers: compressed.encoded.layers.clone(),
            arena_bytes: compressed.encoded.plan.arena_bytes,
            macs,
            stages: compressed.stages.clone(),
        }
    }

    /// A few lines for people.
    pub fn summary(&self) -> String {
        let error = |sized: &Sized| match &sized.measure {
            Some(m) => format!("{:.2} % error ({} of {} examples)", m.value, m.split, m.n),
            None => "not measured".to_owned(),
        };
        format!(
            "float  {:>9} bytes  {}\nimage  {:>9} bytes  {}\nratio  {:>8.1}x       arena {} bytes, {} bytes that are not weights",
            self.float.bytes,
            error(&self.float),
            self.image.bytes,
            error(&self.image),
            self.ratio,
            self.arena_bytes,
            self.ledger.fixed(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_size_is_one_flat_object() {
        let sized = Sized {
            bytes: 25800,
            measure: Some(Measure::error_percent(1.58, "test", 10000)),
        };
        let json = serde_json::to_value(&sized).expect("serializes");
        let expected = serde_json::json!({
            "bytes": 25800, "metric": "error_percent", "value": 1.58, "split": "test", "n": 10000
        });
        assert_eq!(json, expected);
    }
}
