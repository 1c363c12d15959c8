//! Weights as rows that a kernel goes through: outputs one after the other, each with its inputs side by
//! side (of a convolution `[kh, kw, in]`).

use trainer::graph::strides::places;
use trainer::graph::{Graph, Op, ParamId};

/// A weight's rows.
pub(super) struct Rows {
    /// Place in the parameter of each element, row by row.
    pub(super) places: Vec<usize>,
    /// Elements of a row.
    pub(super) width: usize,
}

impl Rows {
    pub(super) fn of(graph: &Graph, id: ParamId) -> Self {
        let shape = graph.parameter(id).shape.as_slice();
        let &[first, second, kh, kw] = shape else {
            let places = (0..graph.parameter(id).len()).collect();
            let width = shape.last().copied().unwrap_or(1);
            return Self { places, width };
        };
        let (plane, along) = (kh * kw, second * kh * kw);
        // Outputs, height, width, inputs; a transposed convolution has its inputs first.
        let (sizes, strides) = match is_transposed(graph, id) {
            false => ([first, kh, kw, second], [along, kw, 1, plane]),
            true => ([second, kh, kw, first], [plane, kw, 1, along]),
        };
        Self {
            places: places(&sizes, &strides).collect(),
            width: sizes[1..].iter().product(),
        }
    }
}

fn is_transposed(graph: &Graph, id: ParamId) -> bool {
    let by = |op: &Op| matches!(op, Op::ConvTranspose { weight, .. } if *weight == id);
    graph.nodes.iter().any(|node| by(&node.op))
}

/// Replaces every score by the mean of its block of `[rows, columns]`: blocks stay or go as one. Those at
/// the edges are smaller.
pub(super) fn block_means(scores: &[f32], rows: &Rows, [height, width]: [usize; 2]) -> Vec<f32> {
    let blocks = rows.width.div_ceil(width);
    let block = |i: usize| i / rows.width / height * blocks + i % rows.width / width;
    let last = rows.places.len().checked_sub(1).map_or(0, block);
    let mut sums = vec![(0.0f64, 0u32); last + blocks];
    for (i, &place) in rows.places.iter().enumerate() {
        let (sum, count) = &mut sums[block(i)];
        (*sum, *count) = (*sum + f64::from(scores[place]), *count + 1);
    }
    let mut means = vec![0.0; scores.len()];
    for (i, &place) in rows.places.iter().enumerate() {
        let (sum, count) = sums[block(i)];
        means[place] = (sum / f64::from(count)) as f32;
    }
    means
}

/// Which weights stay when of every `of` neighbours of a row no more than the `keep` largest do.
pub(super) fn n_of_m(values: &[f32], rows: &Rows, keep: usize, of: usize) -> Vec<bool> {
    let mut mask = vec![false; values.len()];
    for row in rows.places.chunks(rows.width.max(1)) {
        for group in row.chunks(of) {
            let mut group = group.to_vec();
            group.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()));
            group
                .iter()
                .take(keep)
                .for_each(|&place| mask[place] = true);
        }
    }
    mask
}
