//! The report of a compression: what a file holds, and what it lost.

mod confusion;
pub mod html;
mod weights;

use crate::encode::{EncodeError, Layer, Ledger};
use crate::host;
use crate::inspect::{OperatorRow, TensorRow, operators, tensors};
use crate::passes::sensitivity::Sensitivity;
use crate::pipeline::{CompressError, Compressed, Figures};
use crate::search::{Try, instructions};
pub use confusion::{Confusion, Confusions};
use no_std_core::Model;
use serde::{Deserialize, Serialize};
use trainer::data::Dataset;
use trainer::graph::Graph;
pub use trainer::train::Measure;
use trainer::train::{DeviceChoice, classes};
pub use weights::{Picture, Spread, spreads_of};

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
    /// After fine-tuning, where a stage did that to teach those behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tuned: Option<Sized>,
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
    /// Instructions of an inference on a Cortex-M4, as [`instructions`] estimates them.
    #[serde(default, rename = "estimated_instructions")]
    pub instructions: u64,
    /// What each pass did.
    pub stages: Vec<Figures>,
    /// The image's operators, in the order of execution.
    #[serde(default)]
    pub operators: Vec<OperatorRow>,
    /// Activations and their places in the arena.
    #[serde(default)]
    pub tensors: Vec<TensorRow>,
    /// How the values of every weight matrix are spread.
    #[serde(default)]
    pub weights: Vec<Spread>,
    /// Which classes were taken for which on the test split; absent without data.
    #[serde(default)]
    pub confusion: Option<Confusions>,
    /// What each layer loses by each pass alone, where that was scanned.
    #[serde(default)]
    pub sensitivity: Vec<Sensitivity>,
    /// The compressions that a search within budgets carried out.
    #[serde(default)]
    pub tries: Vec<Try>,
}

impl Report {
    /// Of a float model and what became of it.
    pub fn new(graph: &Graph, seed: u64, compressed: &Compressed) -> Self {
        let encoded = &compressed.encoded;
        let sized = |bytes| Sized {
            bytes,
            measure: None,
        };
        let (float, image) = (4 * graph.parameter_count(), encoded.bytes.len());
        let tuned = compressed.fine_tuned.as_ref();
        // The encoder has read its own image before.
        let model = Model::parse(&encoded.bytes).ok();
        Self {
            model: graph.name.clone(),
            seed,
            float: sized(float),
            fine_tuned: tuned.map(|graph| sized(4 * graph.parameter_count())),
            image: sized(image),
            ratio: float as f64 / image as f64,
            ledger: encoded.ledger,
            layers: encoded.layers.clone(),
            arena_bytes: encoded.plan.arena_bytes,
            macs: graph.macs(),
            instructions: model.as_ref().map_or(0, instructions::estimate),
            stages: compressed.stages.clone(),
            operators: model.as_ref().map_or_else(Vec::new, operators),
            tensors: model.as_ref().map_or_else(Vec::new, tensors),
            weights: weights::spreads(graph, &compressed.graph),
            confusion: None,
            sensitivity: Vec::new(),
            tries: Vec::new(),
        }
    }

    /// Fills in the errors of the float graph, of the fine-tuned one if there is one, and of the image on
    /// the test split.
    ///
    /// # Errors
    /// When one of them does not run on the data.
    pub fn measure(
        &mut self,
        graph: &Graph,
        compressed: &Compressed,
        test: &Dataset,
    ) -> Result<(), CompressError> {
        let model = Model::parse(&compressed.encoded.bytes).map_err(EncodeError::from)?;
        let float = classes(graph, test, DeviceChoice::Cpu)?;
        let integers = host::classes(&model, &test.inputs, test.len())?;
        let count = |said: &[u32]| Confusion::count(&test.labels, said, test.classes);
        let (float, image) = (count(&float), count(&integers));
        let measure = |counted: &Confusion| {
            let percent = 100.0 * counted.wrong() as f64 / test.len().max(1) as f64;
            Some(Measure::error_percent(percent, "test", test.len()))
        };
        if let (Some(sized), Some(graph)) = (&mut self.fine_tuned, &compressed.fine_tuned) {
            sized.measure = measure(&count(&classes(graph, test, DeviceChoice::Cpu)?));
        }
        self.float.measure = measure(&float);
        self.image.measure = measure(&image);
        self.confusion = (test.classes <= MAX_CLASSES).then_some(Confusions { float, image });
        Ok(())
    }

    /// A few lines for people.
    pub fn summary(&self) -> String {
        let error = |sized: &Sized| match &sized.measure {
            Some(m) => format!("{:.2} % error ({} of {} examples)", m.value, m.split, m.n),
            None => "not measured".to_owned(),
        };
        let line =
            |name, sized: &Sized| format!("{name}  {:>9} bytes  {}", sized.bytes, error(sized));
        let tuned = self.fine_tuned.as_ref();
        let lines = [
            Some(line("float", &self.float)),
            tuned.map(|tuned| line("tuned", tuned)),
            Some(line("image", &self.image)),
            Some(format!(
                "ratio  {:>8.1}x       arena {} bytes, {} bytes that are not weights",
                self.ratio,
                self.arena_bytes,
                self.ledger.fixed(),
            )),
        ];
        lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}

/// Most classes that confusions are told of: their counts grow with the square.
const MAX_CLASSES: usize = 256;

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
