use super::dot;
use no_std_core::operator::Linear;

/// `y = requantize(W·x + b)`; the weights are read in their coded form, row by row.
pub(crate) fn dense(x: &[i8], zero_point: i8, y: &mut [i8], scratch: &mut [i8], linear: &Linear) {
    if linear.weights.is_plain() {
        plain(x, y, linear);
    } else {
        coded(x, zero_point.into(), y, scratch, linear);
    }
}

fn plain(x: &[i8], y: &mut [i8], linear: &Linear) {
    #[cfg(x86)]
    if x.len() == linear.weights.columns && many(x, y, linear) {
        return;
    }
    let (mut biases, mut multipliers) = (linear.biases(), linear.multipliers());
    let rows = linear
        .weights
        .stream()
        .chunks_exact(linear.weights.columns.max(1));
    for (y, weights) in y.iter_mut().zip(rows) {
        let accumulator = biases.take().wrapping_add(dot(x, weights));
        *y = linear.range.requantize(accumulator, multipliers.take());
    }
}

/// Many rows at once; whether it was done: all of it, or nothing.
#[cfg(x86)]
fn many(x: &[i8], y: &mut [i8], linear: &Linear) -> bool {
    const ROWS: usize = 64;
    let (mut biases, mut multipliers) = (linear.biases(), linear.multipliers());
    let rows = linear.weights.stream().chunks((ROWS * x.len()).max(1));
    for (y, weights) in y.chunks_mut(ROWS).zip(rows) {
        let mut sums = [0; ROWS];
        let sums = sums.get_mut(..y.len()).unwrap_or_default();
        // It depends on what the processor has, and so is the same for all rows.
        if !crate::arch::dots(x, weights, sums) {
            return false;
        }
        for (y, sum) in y.iter_mut().zip(sums) {
            let accumulator = biases.take().wrapping_add(*sum);
            *y = linear.range.requantize(accumulator, multipliers.take());
        }
    }
    true
}

fn coded(x: &[i8], zero_point: i32, y: &mut [i8], scratch: &mut [i8], linear: &Linear) {
    let (mut biases, mut multipliers) = (linear.biases(), linear.multipliers());
    let mut reader = linear.weights.reader(scratch);
    for y in y {
        let products = if linear.is_centred() {
            reader.centred_dot(x, zero_point)
        } else {
            reader.dot(x)
        };
        let accumulator = biases.take().wrapping_add(products);
        *y = linear.range.requantize(accumulator, multipliers.take());
    }
}
