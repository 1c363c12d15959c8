//! Results that no recipe is behind: of a model brought as ONNX and compressed by one command, and of
//! AlexNet's size.

use super::device::Cost;
use super::{grouped, page};
use crate::recipe::{Failure, image, read_json, read_report};
use compress::report::{Report, Sized};
use serde::{Deserialize, Serialize};
use std::path::Path;
use trainer::data::DataSpec;

/// A model that was brought, with what became of it; errors are in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brought {
    /// As it came, and four bytes for each of its parameters.
    pub float: Sized,
    /// Trained as long as each stage, where it was.
    pub fine_tuned: Option<Sized>,
    /// The file.
    pub image: Sized,
    /// Of every random choice.
    pub seed: u64,
    /// That its stages took.
    pub seconds: f64,
    /// On the emulated Cortex-M4, where the image was run there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub m4: Option<Cost>,
}

/// What `alexnet --json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlexNet {
    /// Weights.
    pub parameters: u64,
    /// Of the whole file.
    pub bytes: u64,
    /// Four bytes a parameter over those.
    pub ratio: f64,
    /// From the drawing of weights to their comparison with what was read back.
    pub seconds: f64,
    /// Most memory held.
    pub peak_bytes: u64,
}

/// Name of the summary of the one that is brought.
pub const BROUGHT: &str = "resnet8";
/// Name of the other's.
pub const ALEXNET: &str = "alexnet";

/// The data of the model that is brought, in the folder that holds a folder for each kind of data.
const DATA: &str = "cifar10,scale=255";

impl Brought {
    /// Of the `report.json` and `model.pith` in a folder; with `data`, the image is run on the emulated
    /// core.
    ///
    /// # Errors
    /// When a file is missing, an integer is not the host's, or a tool is missing.
    pub fn of(folder: &Path, data: Option<&Path>) -> Result<Self, Failure> {
        let report: Report = read_report(folder)?;
        let seconds = report.stages.iter().map(|stage| stage.seconds).sum();
        let m4 = data.map(|data| -> Result<Cost, Failure> {
            let spec: DataSpec = format!("cifar10:{}", data.join(DATA).display()).parse()?;
            Cost::on_m4(&image(folder), &spec.load()?.test)
        });
        Ok(Self {
            float: report.float,
            fine_tuned: report.fine_tuned,
            image: report.image,
            seed: report.seed,
            seconds,
            m4: m4.transpose()?,
        })
    }

    fn section(&self) -> String {
        let tuned = self.fine_tuned.as_ref();
        let rows = [
            Some(sized("as imported", &self.float)),
            tuned.map(|tuned| sized("fine-tuned, float", tuned)),
            Some(sized("compressed", &self.image)),
        ];
        let cost = self.m4.map_or_else(String::new, |m4| {
            format!(
                " The image takes {} instructions on the emulated Cortex-M4, {} bytes of arena and {} of stack, and gave the host's integers for {} test images.",
                grouped(m4.instructions),
                grouped(m4.arena_bytes),
                grouped(m4.stack_bytes),
                m4.examples
            )
        });
        format!(
            "\n## {BROUGHT}\n\nMLPerf Tiny's ResNet-8, brought as ONNX, on a JPEG copy of CIFAR-10:\n\n```sh\nmkdir -p out/{BROUGHT}\n\
             compress --prune=0.8 --quantize=4 resnet8.onnx --data cifar10:../data/{DATA} --epochs 12 -o out/{BROUGHT}/model.pith --report out/{BROUGHT}/report.json\n\
             cargo run --release -p examples --bin results -- docs/RESULTS.md --summaries docs/results --data ../data --brought out/{BROUGHT}\n```\n\n\
             | network | bytes | error |\n|---|---|---|\n{}\nSeed {}, {:.0} minutes.{cost}\n",
            rows.into_iter().flatten().collect::<String>(),
            self.seed,
            self.seconds / 60.0,
        )
    }
}

fn sized(what: &str, sized: &Sized) -> String {
    let measure = sized.measure.as_ref();
    let error = measure.map_or_else(|| "-".to_owned(), |m| format!("{:.2} %", m.value));
    format!("| {what} | {} | {error} |\n", grouped(sized.bytes as u64))
}

impl AlexNet {
    fn section(&self) -> String {
        format!(
            "\n## {ALEXNET}\n\nSynthetic heavy-tailed weights in AlexNet's shapes, pruned to Deep Compression's densities, and read back from the file as they were:\n\n```sh\nmkdir -p out\n\
             cargo run --release -p benches --bin {ALEXNET} -- --json > out/{ALEXNET}.json\n\
             cargo run --release -p examples --bin results -- docs/RESULTS.md --summaries docs/results --alexnet out/{ALEXNET}.json\n```\n\n\
             {} weights in {} bytes: {:.2}× smaller than at four bytes each (Deep Compression: 35×; Han, Mao, Dally 2016, arXiv:1510.00149, table 1), in {:.0} seconds and at most {:.2} GB of memory.\n",
            grouped(self.parameters),
            grouped(self.bytes),
            self.ratio,
            self.seconds,
            self.peak_bytes as f64 / 1e9,
        )
    }
}

/// What a page says of those that a folder has summaries of.
///
/// # Errors
/// When a summary is damaged.
pub(super) fn sections(folder: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let [brought, alexnet] = [BROUGHT, ALEXNET].map(|name| page::file_of(folder, name));
    if brought.exists() {
        text += &read_json::<Brought>(&brought)?.section();
    }
    if alexnet.exists() {
        text += &read_json::<AlexNet>(&alexnet)?.section();
    }
    Ok(text)
}
