//! What is fed to the model: an array of floats, quantized as the image says, clips of sound, or random
//! integers.

use crate::mcu::McuError;
use compress::host::quantize;
use edge_runtime::frontend::{FRACTION_BITS, FrontEnd, Parameters};
use no_std_core::Model;
use npyz::{NpyFile, Order};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Quantized inputs of one length, channels last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    elements: usize,
    values: Vec<i8>,
    /// Samples that the device is to make the values of, where it is.
    clips: Vec<Vec<i16>>,
}

/// Most inputs of one run, in bytes: what the boards can take.
const MAX_BYTES: u64 = 16 << 20;

impl Inputs {
    /// From integers, `elements` each.
    pub fn new(elements: usize, values: Vec<i8>) -> Self {
        let clips = Vec::new();
        Self {
            elements,
            values,
            clips,
        }
    }

    /// `count` inputs of random integers: never zeros, which hide mistakes and cost less.
    pub fn random(model: &Model, count: usize, seed: u64) -> Self {
        let elements = model.input().bytes();
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
        Ok(Self::new(model.input().bytes(), values))
    }

    /// Reads WAV files, of whose samples the device's front end has to make what the host's does.
    ///
    /// # Errors
    /// When the model does not say how its input is made of sound, or a file is not a clip at its
    /// sampling rate.
    pub fn listen(paths: &[PathBuf], model: &Model) -> Result<Self, McuError> {
        let name = paths.first().cloned().unwrap_or_default();
        let invalid = |reason| McuError::Input {
            path: name.clone(),
            reason,
        };
        let parameters = audio(model).map_err(invalid)?;
        let clip = |path: &PathBuf| trainer::data::clip(path, parameters.rate());
        let clips: Vec<Vec<i16>> = paths.iter().map(clip).collect::<Result<_, _>>()?;
        let needed = parameters.workspace();
        let (mut words, mut halves) = (vec![0; needed.words], vec![0; needed.halves]);
        let mut values = vec![0; parameters.features() * clips.len()];
        if let Ok(mut front_end) = FrontEnd::new(&parameters, &mut words, &mut halves) {
            let pairs = clips.iter().zip(values.chunks_mut(parameters.features()));
            pairs.for_each(|(clip, features)| front_end.clip(clip, features));
        }
        Ok(Self::sound(parameters.features(), values, clips))
    }

    /// Clips, and what must be made of them.
    pub(crate) fn sound(elements: usize, values: Vec<i8>, clips: Vec<Vec<i16>>) -> Self {
        Self {
            elements,
            values,
            clips,
        }
    }

    /// Whether the device gets clips of sound.
    pub fn is_sound(&self) -> bool {
        !self.clips.is_empty()
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
        Self {
            elements: self.elements,
            values: self.iter().next().unwrap_or(&[]).to_vec(),
            clips: self.clips.iter().take(1).cloned().collect(),
        }
    }

    /// As the firmware reads them: their number (u32), then their bytes; of clips, each one's number of
    /// samples (u32) and these, in whole words.
    pub(crate) fn blob(&self) -> Vec<u8> {
        let mut blob = (self.count() as u32).to_le_bytes().to_vec();
        for clip in &self.clips {
            blob.extend((clip.len() as u32).to_le_bytes());
            blob.extend(clip.iter().flat_map(|sample| sample.to_le_bytes()));
            blob.resize(blob.len().next_multiple_of(4), 0);
        }
        if !self.is_sound() {
            blob.extend(self.values.iter().map(|&value| value as u8));
        }
        blob
    }
}

/// How the image's input is made of sound.
fn audio(model: &Model) -> Result<Parameters, String> {
    let parameters = Parameters::of(model)
        .ok_or("the image takes no audio features; train it on wav: data")?
        .map_err(|e| format!("the image's description of its audio features: {e}"))?;
    let (input, scale) = (model.input(), 1.0 / (1 << FRACTION_BITS) as f32);
    let of_front_end = input.shape.len() == parameters.features()
        && f32::from_bits(input.scale_bits) == scale
        && input.zero_point == parameters.zero_point();
    if of_front_end {
        Ok(parameters)
    } else {
        Err("the image's input is not what its audio features are; compress it anew".into())
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
    fn clips_are_written_in_whole_words() {
        let inputs = Inputs {
            elements: 1,
            values: vec![7, 8],
            clips: vec![vec![1, -1, 2], vec![3, 4]],
        };
        let words: Vec<[u8; 4]> = inputs.blob().as_chunks::<4>().0.to_vec();
        let expected: [[u8; 4]; 6] = [
            [2, 0, 0, 0],
            [3, 0, 0, 0],
            [1, 0, 255, 255],
            [2, 0, 0, 0],
            [2, 0, 0, 0],
            [3, 0, 4, 0],
        ];
        assert_eq!(words, expected);
        assert_eq!(inputs.first().blob()[..8], [1, 0, 0, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn shapes_are_one_input_or_a_batch() {
        let fits = |shape: &[u64]| check_shape(shape, Order::C, 6).is_ok();
        assert!(fits(&[6]) && fits(&[1, 2, 3]) && fits(&[2, 3]) && fits(&[5, 6]));
        assert!(!fits(&[5]) && !fits(&[2, 5]) && !fits(&[0, 6]) && !fits(&[u64::MAX, 6]));
        assert!(check_shape(&[6], Order::Fortran, 6).is_err());
    }
}
