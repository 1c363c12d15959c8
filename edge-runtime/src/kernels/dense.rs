use super::dot;
use no_std_core::operator::Linear;

/// `y = requantize(W·x + b)`; the weights are read in their coded form, row by row.
pub(crate) fn dense(x: &[i8], y: &mut [i8], scratch: &mut [i8], linear: &Linear) {
    if linear.weights.is_plain() {
        plain(x, y, linear);
    } else {
        coded(x, y, scratch, linear);
    }
}

fn plain(x: &[i8], y: &mut [i8], linear: &Linear) {
    let mut biases = linear.biases();
    let rows = linear
        .weights
        .stream()
        .chunks_exact(linear.weights.columns.max(1));
    for (row, (y, weights)) in y.iter_mut().zip(rows).enumerate() {
        let accumulator = biases.take().wrapping_add(dot(x, weights));
        *y = linear.range.requantize(accumulator, linear.multiplier(row));
    }
}

fn coded(x: &[i8], y: &mut [i8], scratch: &mut [i8], linear: &Linear) {
    let mut biases = linear.biases();
    let mut reader = linear.weights.reader(scratch);
    for (row, y) in y.iter_mut().enumerate() {
        let accumulator = biases.take().wrapping_add(reader.dot(x));
        *y = linear.range.requantize(accumulator, linear.multiplier(row));
    }
}
