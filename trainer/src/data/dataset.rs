use super::DataError;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Examples of one split, labelled unless only a teacher is to say what they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Dataset {
    /// Shape of one input, `[channels, height, width]` for images.
    pub input_shape: Vec<usize>,
    /// All inputs, one after the other, row-major.
    pub inputs: Vec<f32>,
    /// One class per example, below `classes`; none at all for examples without labels.
    pub labels: Vec<u32>,
    /// Number of classes.
    pub classes: usize,
    /// What a model must know of how its inputs are made: becomes part of its own metadata.
    pub metadata: BTreeMap<String, String>,
}

/// What a data specification yields.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// Seen by training, calibration and every choice.
    pub train: Dataset,
    /// Seen by the final evaluation alone.
    pub test: Dataset,
}

impl Dataset {
    /// Examples.
    pub fn len(&self) -> usize {
        self.inputs.len() / self.input_len().max(1)
    }

    /// Whether every example has its class.
    pub fn is_labelled(&self) -> bool {
        self.labels.len() == self.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Elements of one input.
    pub fn input_len(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// The input of example `i`.
    ///
    /// # Panics
    /// When there is no such example.
    pub fn input(&self, i: usize) -> &[f32] {
        let n = self.input_len();
        &self.inputs[i * n..(i + 1) * n]
    }

    /// The examples at these places, in this order.
    ///
    /// # Panics
    /// When a place is past the end.
    pub fn subset(&self, places: &[usize]) -> Self {
        Self {
            input_shape: self.input_shape.clone(),
            inputs: places
                .iter()
                .flat_map(|&i| self.input(i))
                .copied()
                .collect(),
            labels: places
                .iter()
                .filter_map(|&i| self.labels.get(i))
                .copied()
                .collect(),
            classes: self.classes,
            metadata: self.metadata.clone(),
        }
    }

    /// Splits off the last `count` examples of a seeded shuffle: (rest, held out). Held-out examples
    /// decide early stopping and every hyper-parameter, so that the test split decides nothing.
    pub fn hold_out(&self, count: usize, seed: u64) -> (Self, Self) {
        use rand::{SeedableRng, seq::SliceRandom};
        let mut places: Vec<usize> = (0..self.len()).collect();
        places.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
        let (rest, held) = places.split_at(self.len() - count.min(self.len()));
        (self.subset(rest), self.subset(held))
    }
}

/// Of the shuffle that takes a test split from data without one.
const SPLIT_SEED: u64 = 0x7e57;

/// Takes the last sixth of a seeded shuffle as the test split.
pub(super) fn split_off_test(path: &Path, all: Dataset) -> Result<Splits, DataError> {
    if all.len() < 2 {
        let reason = "there is one example; expected two at least, one to train on and one to test";
        return Err(DataError::file(path, reason));
    }
    let (train, test) = all.hold_out(all.len().div_ceil(6), SPLIT_SEED);
    Ok(Splits { train, test })
}

/// Builds a data set without labels.
pub(super) fn unlabelled(
    path: &Path,
    input_shape: Vec<usize>,
    inputs: Vec<f32>,
) -> Result<Dataset, DataError> {
    let elements: usize = input_shape.iter().product();
    if elements == 0 || inputs.is_empty() {
        return Err(DataError::file(path, "there are no examples"));
    }
    check_finite(path, &inputs, elements)?;
    Ok(Dataset {
        input_shape,
        inputs,
        ..Dataset::default()
    })
}

fn check_finite(path: &Path, inputs: &[f32], elements: usize) -> Result<(), DataError> {
    let bad = inputs.iter().position(|x| !x.is_finite());
    bad.map_or(Ok(()), |bad| {
        let example = bad / elements;
        let reason = format!("example {example} holds a value that is not finite");
        Err(DataError::file(path, reason))
    })
}

/// Builds a data set whose labels were read as numbers, checking each.
pub(super) fn labelled(
    path: &Path,
    input_shape: Vec<usize>,
    inputs: Vec<f32>,
    labels: Vec<i64>,
    most: u32,
) -> Result<Dataset, DataError> {
    let elements: usize = input_shape.iter().product();
    if labels.is_empty() {
        return Err(DataError::file(path, "there are no examples"));
    }
    if elements == 0 || inputs.len() != labels.len() * elements {
        let examples = inputs.len().checked_div(elements).unwrap_or(0);
        return Err(DataError::file(
            path,
            format!("there are {} labels for {examples} inputs", labels.len()),
        ));
    }
    check_finite(path, &inputs, elements)?;
    let wrong = labels.iter().position(|&l| l < 0 || l > most as i64);
    if let Some(i) = wrong {
        return Err(DataError::file(
            path,
            format!("label {} of example {i} is not in 0…{most}", labels[i]),
        ));
    }
    let labels: Vec<u32> = labels.into_iter().map(|l| l as u32).collect();
    let classes = labels.iter().max().map_or(0, |&m| m as usize + 1);
    Ok(Dataset {
        input_shape,
        inputs,
        labels,
        classes,
        metadata: BTreeMap::new(),
    })
}
