use serde::{Deserialize, Serialize};

/// How rows of weights are cut into vectors, all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Weights of a vector; the last one of a row may be shorter.
    pub dimension: usize,
    /// Vectors of a row that one codebook serves.
    pub span: usize,
    /// Input channels, which stand side by side in the rows that are cut and farthest apart in the
    /// tensor's: the order in which a device reads them. 1 where both are the same.
    pub channels: usize,
}

impl Cut {
    /// Vectors of a row.
    pub fn vectors(&self, columns: usize) -> usize {
        columns.div_ceil(self.dimension)
    }

    /// Codebooks of a matrix.
    pub fn codebooks(&self, columns: usize) -> usize {
        self.vectors(columns).div_ceil(self.span)
    }

    /// For each place of a row that is cut, where it stands in a row of the tensor.
    pub fn order(&self, columns: usize) -> Vec<usize> {
        let taps = columns / self.channels;
        let place = |i: usize| i % self.channels * taps + i / self.channels;
        (0..columns).map(place).collect()
    }

    fn check(&self, columns: usize) -> Result<(), String> {
        let Self {
            dimension,
            span,
            channels,
        } = *self;
        if !(1..=columns).contains(&dimension) {
            return Err(format!("has vectors of {dimension} for rows of {columns}"));
        }
        let vectors = self.vectors(columns);
        if !(1..=vectors).contains(&span) {
            return Err(format!("has a codebook for {span} of {vectors} vectors"));
        }
        if channels == 0 || !columns.is_multiple_of(channels) {
            return Err(format!("has {channels} channels in rows of {columns}"));
        }
        Ok(())
    }
}

/// A matrix of which several neighbours along a row are together an entry of a codebook, one codebook for
/// each span of inputs (product quantization; Jégou et al. 2011, of weights Gong et al. 2014 and Stock
/// et al. 2020). The gradient of an entry is the sum over its copies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VectorWeights {
    /// `[codebooks, entries, dimension]`
    codebooks: Vec<f32>,
    /// `[rows, vectors]`
    indices: Vec<u32>,
    cut: Cut,
    rows: usize,
    columns: usize,
    /// What learns in the entries' place, row-major, while weights may still change theirs.
    loose: Option<Vec<f32>>,
}

impl VectorWeights {
    /// A matrix of `rows` output channels and `columns` weights each, the columns being all axes of a
    /// tensor but the first. `codebooks` is `[codebooks, entries, dimension]`, `indices` `[rows, vectors]`.
    ///
    /// # Errors
    /// When the cut does not fit the rows, or lengths and indices the cut.
    pub fn new(
        codebooks: Vec<f32>,
        indices: Vec<u32>,
        cut: Cut,
        [rows, columns]: [usize; 2],
    ) -> Result<Self, String> {
        cut.check(columns)?;
        let weights = Self {
            codebooks,
            indices,
            cut,
            rows,
            columns,
            loose: None,
        };
        let (entries, books) = (weights.entries(), cut.codebooks(columns));
        if entries == 0 || weights.codebooks.len() != books * entries * cut.dimension {
            return Err("has codebooks of another length".to_owned());
        }
        if weights.indices.len() != rows * cut.vectors(columns) {
            return Err("has indices of another length".to_owned());
        }
        if weights.indices.iter().any(|&i| i as usize >= entries) {
            return Err("has an index beyond its codebook".to_owned());
        }
        Ok(weights)
    }

    /// The same, with weights that learn in the entries' place: gradients go straight through to them.
    ///
    /// # Panics
    /// When there are not as many values as weights.
    pub fn loosened(mut self, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), self.rows * self.columns, "one for each");
        self.loose = Some(values);
        self
    }

    /// The same, its entries learning and its indices fixed.
    pub fn tightened(mut self) -> Self {
        self.loose = None;
        self
    }

    /// The weights that learn in the entries' place, if they do.
    pub fn loose(&self) -> Option<&[f32]> {
        self.loose.as_deref()
    }

    /// `[codebooks, entries, dimension]`
    pub fn codebooks(&self) -> &[f32] {
        &self.codebooks
    }

    /// `[rows, vectors]`
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// How rows are cut.
    pub fn cut(&self) -> Cut {
        self.cut
    }

    /// Rows and columns.
    pub fn sizes(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Entries of each codebook.
    pub fn entries(&self) -> usize {
        self.codebooks.len() / (self.cut.codebooks(self.columns) * self.cut.dimension)
    }

    /// The free parameters.
    pub(super) fn free(&self) -> &[f32] {
        self.loose.as_deref().unwrap_or(&self.codebooks)
    }

    /// The free parameters, to be changed.
    pub(super) fn free_mut(&mut self) -> &mut Vec<f32> {
        self.loose.as_mut().unwrap_or(&mut self.codebooks)
    }

    /// Calls `visit` with the place of each weight in W and in the codebooks.
    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        let (
            order,
            Cut {
                dimension, span, ..
            },
        ) = (self.cut.order(self.columns), self.cut);
        let (entries, vectors) = (self.entries(), self.cut.vectors(self.columns));
        for (r, indices) in self.indices.chunks(vectors).enumerate() {
            for ((v, &index), places) in indices.iter().enumerate().zip(order.chunks(dimension)) {
                let entry = (v / span * entries + index as usize) * dimension;
                for (k, place) in places.iter().enumerate() {
                    visit(r * self.columns + place, entry + k);
                }
            }
        }
    }

    /// W, row-major.
    pub fn expand(&self) -> Vec<f32> {
        let mut weights = vec![0.0; self.rows * self.columns];
        self.each(|place, entry| weights[place] = self.codebooks[entry]);
        weights
    }

    /// The gradient of the free parameters from that of W.
    pub(super) fn pull_back(&self, gradient: &[f32]) -> Vec<f32> {
        if self.loose.is_some() {
            return gradient.to_vec();
        }
        let mut sums = vec![0.0; self.codebooks.len()];
        self.each(|place, entry| sums[entry] += gradient[place]);
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 2 channels × 3 taps read 0 3 1 4 2 5, in vectors of 4 and 2 with a codebook each.
    fn weights() -> VectorWeights {
        let cut = Cut {
            dimension: 4,
            span: 1,
            channels: 2,
        };
        let books = (0..16).map(|i| i as f32).collect();
        VectorWeights::new(books, vec![1, 0, 0, 1], cut, [2, 6]).expect("fits")
    }

    #[test]
    fn entries_stand_where_a_device_reads_them() {
        let expected = [4., 6., 8., 5., 7., 9., 0., 2., 12., 1., 3., 13.];
        assert_eq!(weights().expand(), expected);
    }

    /// An entry's gradient is the sum over its copies; what no weight reads has none.
    #[test]
    fn gradients_are_summed() {
        let mut weights = weights();
        weights.indices = vec![1, 0, 1, 1];
        let gradient: Vec<f32> = (1..=12).map(|i| i as f32).collect();
        let expected = [
            0., 0., 0., 0., 8., 14., 10., 16., 3., 6., 0., 0., 9., 12., 0., 0.,
        ];
        assert_eq!(weights.pull_back(&gradient), expected);
        let loose = weights.clone().loosened(vec![0.5; 12]);
        assert_eq!(loose.expand(), weights.expand());
        assert_eq!(loose.pull_back(&gradient), gradient);
        assert_eq!(loose.free().len(), 12);
        assert_eq!(loose.tightened(), weights);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cut = |dimension, span, channels| Cut {
            dimension,
            span,
            channels,
        };
        let new = |codebooks: usize, indices: &[u32], cut| {
            VectorWeights::new(vec![0.0; codebooks], indices.to_vec(), cut, [1, 6])
        };
        assert!(new(8, &[1, 1, 0], cut(2, 3, 1)).is_ok());
        for (wrong, what) in [
            (new(8, &[1, 1, 0], cut(0, 3, 1)), "vectors of 0"),
            (new(8, &[1, 1, 0], cut(7, 1, 1)), "vectors of 7"),
            (new(8, &[1, 1, 0], cut(2, 4, 1)), "for 4 of 3"),
            (new(8, &[1, 1, 0], cut(2, 0, 1)), "for 0 of 3"),
            (new(8, &[1, 1, 0], cut(2, 3, 4)), "4 channels"),
            (new(7, &[1, 1, 0], cut(2, 3, 1)), "codebooks"),
            (new(0, &[1, 1, 0], cut(2, 3, 1)), "codebooks"),
            (new(8, &[1, 1], cut(2, 3, 1)), "indices"),
            (new(8, &[1, 4, 0], cut(2, 3, 1)), "beyond"),
        ] {
            assert!(wrong.expect_err(what).contains(what));
        }
    }
}
