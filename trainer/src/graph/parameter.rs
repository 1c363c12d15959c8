use super::{HashedWeights, SignWeights, VectorWeights};
use serde::{Deserialize, Serialize};

/// A parameter's place in [`Graph::parameters`](super::Graph::parameters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ParamId(pub usize);

/// A tensor that belongs to the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Unique within the graph; the initializer name in an ONNX file.
    pub name: String,
    /// Shape of the materialized tensor.
    pub shape: Vec<usize>,
    /// How the tensor comes out of its free parameters.
    pub parametrization: Parametrization,
    /// What each output channel (the first axis) of the parametrization's values is multiplied by, not
    /// trained; empty where nothing is.
    pub gains: Vec<f32>,
    /// The integer grid its values are rounded to, once a pass has chosen one. Training then runs
    /// through the rounding with a straight-through gradient.
    pub grid: Option<Grid>,
}

/// How a tensor W comes out of the free parameters that training changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Parametrization {
    /// W itself.
    Dense {
        /// Row-major.
        values: Vec<f32>,
    },
    /// W ⊙ mask, the mask fixed (pruning).
    Masked {
        /// Row-major; entries outside the mask have no meaning.
        values: Vec<f32>,
        /// Which entries live.
        mask: Vec<bool>,
    },
    /// W = codebook\[index\], the indices fixed (weight sharing; Han 2016). The gradient of a
    /// centroid is the sum over its copies.
    Shared {
        /// The centroids. With `pinned_zero`, entry 0 is 0.0 and stays so (pruned weights).
        codebook: Vec<f32>,
        /// Row-major, each below the codebook's length.
        indices: Vec<u32>,
        /// Whether entry 0 stands for pruned weights and is not trained.
        pinned_zero: bool,
    },
    /// W is zero outside the mask and the value's centroid inside it, the nearest one unless `edges` say
    /// otherwise; the gradient goes straight through to every living value, so that a weight may change
    /// its centroid while the network learns. A form of training only: it ends as
    /// [`Shared`](Self::Shared).
    Clustered {
        /// Row-major.
        values: Vec<f32>,
        /// Which entries live.
        mask: Vec<bool>,
        /// The centroids, at least one, in ascending order.
        codebook: Vec<f32>,
        /// Where each centroid but the last one has its last values, ascending: cheap ones may reach
        /// beyond the middle. Empty where every value has the nearest one.
        edges: Vec<f32>,
    },
    /// Each entry a value that the hash of its place chooses (HashedNets).
    Hashed(HashedWeights),
    /// Two or three values: ±α, and 0.
    Signs(SignWeights),
    /// Neighbours together an entry of a codebook.
    Vectors(VectorWeights),
}

impl Parametrization {
    /// The tensor, row-major, before gains and rounding.
    pub fn values(&self) -> Vec<f32> {
        match self {
            Parametrization::Dense { values } => values.clone(),
            Parametrization::Masked { values, mask } => values
                .iter()
                .zip(mask)
                .map(|(&v, &keep)| if keep { v } else { 0.0 })
                .collect(),
            Parametrization::Shared {
                codebook, indices, ..
            } => indices.iter().map(|&i| codebook[i as usize]).collect(),
            Parametrization::Clustered {
                values,
                mask,
                codebook,
                edges,
            } => {
                let project = |(&v, &keep): (&f32, &bool)| {
                    if keep {
                        codebook[entry_of(codebook, edges, v)]
                    } else {
                        0.0
                    }
                };
                values.iter().zip(mask).map(project).collect()
            }
            Parametrization::Hashed(weights) => weights.expand(),
            Parametrization::Signs(weights) => weights.expand(),
            Parametrization::Vectors(weights) => weights.expand(),
        }
    }
}

/// The place of the entry nearest to `value` in an ascending, non-empty codebook.
pub fn nearest(codebook: &[f32], value: f32) -> usize {
    let above = codebook.partition_point(|&c| c < value);
    let closer = |a: usize, b: usize| {
        if (codebook[a] - value).abs() <= (codebook[b] - value).abs() {
            a
        } else {
            b
        }
    };
    match above {
        0 => 0,
        n if n == codebook.len() => n - 1,
        n => closer(n - 1, n),
    }
}

/// The place of the entry that stands for `value` in a non-empty codebook with these `edges`, as in
/// [`Parametrization::Clustered`].
pub fn entry_of(codebook: &[f32], edges: &[f32], value: f32) -> usize {
    match edges {
        [] => nearest(codebook, value),
        edges => edges
            .partition_point(|&edge| edge < value)
            .min(codebook.len() - 1),
    }
}

/// A uniform symmetric integer grid: W is rounded (half away from zero) to `scale · q` with `|q| ≤ max`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// One scale for the tensor, or one per output channel (the first axis).
    pub scale: Vec<f32>,
    /// Largest magnitude: 127 for int8.
    pub max: i32,
}

impl Grid {
    /// The integer a weight becomes, in output channel `channel`.
    pub fn quantize(&self, value: f32, channel: usize) -> i32 {
        let scale = self.scale[if self.scale.len() == 1 { 0 } else { channel }];
        let max = self.max as f32;
        (value / scale).round().clamp(-max, max) as i32
    }

    /// The real value of an integer, in output channel `channel`.
    pub fn dequantize(&self, q: i32, channel: usize) -> f32 {
        q as f32 * self.scale[if self.scale.len() == 1 { 0 } else { channel }]
    }
}

impl Parameter {
    /// A dense parameter.
    ///
    /// # Panics
    /// When the values do not fill the shape.
    pub fn dense(name: impl Into<String>, shape: &[usize], values: Vec<f32>) -> Self {
        assert_eq!(
            values.len(),
            shape.iter().product::<usize>(),
            "values must fill the shape"
        );
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            parametrization: Parametrization::Dense { values },
            gains: Vec::new(),
            grid: None,
        }
    }

    /// Scalars in the materialized tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The free parameters that training changes.
    pub fn free(&self) -> &[f32] {
        match &self.parametrization {
            Parametrization::Dense { values }
            | Parametrization::Masked { values, .. }
            | Parametrization::Clustered { values, .. } => values,
            Parametrization::Shared { codebook, .. } => codebook,
            Parametrization::Hashed(weights) => weights.values(),
            Parametrization::Signs(weights) => &weights.values,
            Parametrization::Vectors(weights) => weights.free(),
        }
    }

    /// The free parameters, to be changed.
    pub fn free_mut(&mut self) -> &mut Vec<f32> {
        match &mut self.parametrization {
            Parametrization::Dense { values }
            | Parametrization::Masked { values, .. }
            | Parametrization::Clustered { values, .. } => values,
            Parametrization::Shared { codebook, .. } => codebook,
            Parametrization::Hashed(weights) => weights.values_mut(),
            Parametrization::Signs(weights) => &mut weights.values,
            Parametrization::Vectors(weights) => weights.free_mut(),
        }
    }

    /// W before rounding to the grid, row-major.
    pub fn latent(&self) -> Vec<f32> {
        let mut values = self.parametrization.values();
        self.amplify(&mut values);
        values
    }

    /// Has the tensor come out of other free parameters, whose values are W itself: gains go.
    pub fn set_form(&mut self, form: Parametrization) {
        self.parametrization = form;
        self.gains.clear();
    }

    /// Multiplies what is shaped like W by the gains of its channels.
    fn amplify(&self, values: &mut [f32]) {
        let columns = self.len().checked_div(self.gains.len()).unwrap_or(0);
        let rows = values.chunks_mut(columns.max(1)).zip(&self.gains);
        rows.for_each(|(row, gain)| row.iter_mut().for_each(|v| *v *= gain));
    }

    /// W as the model uses it: the latent values, rounded to the grid where there is one.
    pub fn materialize(&self) -> Vec<f32> {
        let mut values = self.latent();
        if let Some(grid) = &self.grid {
            let per_channel = values.len() / self.shape.first().copied().unwrap_or(1).max(1);
            for (i, v) in values.iter_mut().enumerate() {
                let channel = i / per_channel.max(1);
                *v = grid.dequantize(grid.quantize(*v, channel), channel);
            }
        }
        values
    }

    /// The gradient of the free parameters, from that of W: masked entries get none, what stands for
    /// several weights (a centroid, a hashed value, an entry of vectors) the sum over its copies. Rounding to the grid passes gradients straight through.
    ///
    /// # Panics
    /// When the gradient is not as long as W.
    pub fn pull_back(&self, gradient: &[f32]) -> Vec<f32> {
        assert_eq!(gradient.len(), self.len(), "one gradient per element");
        let mut gradient = gradient.to_vec();
        self.amplify(&mut gradient);
        match &self.parametrization {
            Parametrization::Dense { .. } => gradient,
            Parametrization::Masked { mask, .. } | Parametrization::Clustered { mask, .. } => {
                gradient
                    .iter()
                    .zip(mask)
                    .map(|(&g, &keep)| if keep { g } else { 0.0 })
                    .collect()
            }
            Parametrization::Shared {
                codebook,
                indices,
                pinned_zero,
            } => {
                let mut sums = vec![0.0; codebook.len()];
                gradient
                    .iter()
                    .zip(indices)
                    .for_each(|(g, &i)| sums[i as usize] += g);
                if *pinned_zero {
                    sums[0] = 0.0;
                }
                sums
            }
            Parametrization::Hashed(weights) => weights.pull_back(&gradient),
            Parametrization::Signs(weights) => weights.pull_back(&gradient),
            Parametrization::Vectors(weights) => weights.pull_back(&gradient),
        }
    }
}
