/// Labelled examples of one split.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Shape of one input, `[channels, height, width]` for images.
    pub input_shape: Vec<usize>,
    /// All inputs, one after the other, row-major.
    pub inputs: Vec<f32>,
    /// One class per example, below `classes`.
    pub labels: Vec<u32>,
    /// Number of classes.
    pub classes: usize,
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
        self.labels.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
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
            labels: places.iter().map(|&i| self.labels[i]).collect(),
            classes: self.classes,
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
