//! What is fed to the model: an array of floats, quantized as the image says, or random integers.

use crate::mcu::McuError;
use compress::host::quantize;
use no_std_core::Model;
use npyz::{NpyFile, Order};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Quantized inputs of one length, channels last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    elements: usize,
    values: Vec<i8>,
}

/// Most inputs of one run, in bytes: what the boards can take.
const MAX_BYTES: u64 = 16 << 20;

impl Inputs {
    /// From integers, `elements` each.
    pub fn new(elements: usize, values: Vec<i8>) -> Self {
        Self { elements, values }
    }

    /// `count` inputs of random integers: never zeros, which hide mistakes and cost less.
    pub fn random(model: &Model, count: usize, seed: u64) -> Self {
        let elements = model.input_len();
        let mut bytes = vec![0; elements * count];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
        Self::new(elements, bytes.into_iter().map(|byte| byte as i8).collect())
    }

    /// Reads a NumPy file of one float input, or of a batch along its first axis, in the order of
    /// the float model (channels first), and quantizes it.
    ///
    /// # Errors
    /// When the file is not such an array, or its shape does not fit the model's input.
    pub fn load(path: &Path, model: &Model) -> Result<Self, McuError> {
        let invalid = |reason: String| McuError::Input {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(McuError::file(path))?;
        let array = NpyFile::new(BufReader::new(file))
            .map_err(|error| invalid(format!("not a NumPy array: {error}")))?;
        let shape = array.shape().to_vec();
        check_shape(&shape, array.order(), model.input_len()).map_err(invalid)?;
        let floats = floats(array).map_err(invalid)?;
        if let Some(place) = floats.iter().position(|value| !value.is_finite()) {
            return Err(invalid(format!("element {place} is {}", floats[place])));
        }
        let values = floats
            .chunks_exact(model.input_len())
            .flat_map(|input| quantize(model, input))
            .collect();
        Ok(Self::new(model.input_len(), values))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.values.len() / self.elements.max(1)
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &[i8]> {
        self.values.chunks_exact(self.elements.max(1))
    }

    /// The first alone.
    pub fn first(&self) -> Self {
        let values = self.iter().next().unwrap_or(&[]).to_vec();
        Self::new(self.elements, values)
    }

    /// As the firmware reads them: their number (u32), then their bytes.
    pub(crate) fn blob(&self) -> Vec<u8> {
        let count = self.count() as u32;
        let bytes = self.values.iter().map(|&value| value as u8);
        count.to_le_bytes().into_iter().chain(bytes).collect()
    }
}

fn check_shape(shape: &[u64], order: Order, elements: usize) -> Result<(), String> {
    let total = shape
        .iter()
        .try_fold(1u64, |product, &side| product.checked_mul(side))
        .filter(|&total| (1..=MAX_BYTES).contains(&total))
        .ok_or_else(|| format!("shape {shape:?} has no elements, or too many"))?;
    let elements = elements as u64;
    let batch = shape.first().copied().unwrap_or(1);
    if total != elements && total != batch * elements {
        return Err(format!(
            "shape {shape:?} is neither one input of {elements} elements nor a batch of them"
        ));
    }
    if order == Order::Fortran {
        return Err("in Fortran order; save numpy.ascontiguousarray of it".into());
    }
    Ok(())
}

fn floats(array: NpyFile<BufReader<File>>) -> Result<Vec<f32>, String> {
    let array = match array.try_data::<f32>() {
        Ok(data) => return data.collect::<Result<_, _>>().map_err(|e| e.to_string()),
        Err(array) => array,
    };
    let kind = array.dtype().descr();
    let data = array
        .try_data::<f64>()
        .map_err(|_| format!("elements of type {kind}; save float32"))?;
    data.map(|value| value.map(|value| value as f32))
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_one_input_or_a_batch() {
        let fits = |shape: &[u64]| check_shape(shape, Order::C, 6).is_ok();
        assert!(fits(&[6]) && fits(&[1, 2, 3]) && fits(&[2, 3]) && fits(&[5, 6]));
        assert!(!fits(&[5]) && !fits(&[2, 5]) && !fits(&[0, 6]) && !fits(&[u64::MAX, 6]));
        assert!(check_shape(&[6], Order::Fortran, 6).is_err());
    }
}
