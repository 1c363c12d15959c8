//! A network that hears.

use super::CLASSES;
use super::builder::{Builder, window};
use super::weights::Weights;
use compress::program::Program;
use edge_runtime::frontend::{FRACTION_BITS, Parameters};

/// A convolution and a dense layer on features of sound, as its metadata say.
pub fn listener(features: &Parameters) -> Program {
    let mut b = Builder::new(Weights::Any);
    let (frames, bands) = (features.frames(), features.frame_len());
    let input = b.tensor([frames, bands, 1]);
    b.program.tensors[input].scale = 1.0 / (1 << FRACTION_BITS) as f32;
    b.program.tensors[input].zero_point = features.zero_point();
    let places = [frames.div_ceil(2), bands.div_ceil(2), 4];
    let hidden = b.conv(input, places, window(3, 2, 1), 1);
    let output = b.dense(hidden, CLASSES);
    let metadata = (Parameters::KEY.to_owned(), features.to_string());
    b.program.metadata.push(metadata);
    b.finish(output)
}
