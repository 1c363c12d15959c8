//! Where elements lie in a row-major array.

/// Row-major distances between neighbours along each axis.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len())
        .map(|next| shape[next..].iter().product())
        .collect()
}

/// Where an array of `strides` has the elements of `shape`, in row-major order.
pub fn places<'a>(shape: &'a [usize], strides: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    (0..shape.iter().product()).map(move |mut rest: usize| {
        let mut place = 0;
        for (size, stride) in shape.iter().zip(strides).rev() {
            place += rest % size * stride;
            rest /= size;
        }
        place
    })
}

/// As [`strides`] of an array that broadcasts to `shape`: zero along what is repeated.
///
/// # Panics
/// When the array has more axes than `shape`.
pub fn broadcast_strides(array: &[usize], shape: &[usize]) -> Vec<usize> {
    let own = strides(array).into_iter().zip(array);
    let own = own.map(|(stride, &size)| if size == 1 { 0 } else { stride });
    let missing = shape.len() - array.len();
    std::iter::repeat_n(0, missing).chain(own).collect()
}

/// How an array falls apart along an axis: `outer` times `size` times `inner` elements.
pub struct Split {
    /// Elements of all axes before it.
    pub outer: usize,
    /// Elements of the axis.
    pub size: usize,
    /// Elements of all axes behind it.
    pub inner: usize,
}

impl Split {
    /// Along an axis of a shape.
    ///
    /// # Panics
    /// When there is no such axis.
    pub fn new(shape: &[usize], axis: usize) -> Self {
        Self {
            outer: shape[..axis].iter().product(),
            size: shape[axis],
            inner: shape[axis + 1..].iter().product(),
        }
    }

    /// The places of each line along the axis, lines in row-major order.
    pub fn lines(&self) -> impl Iterator<Item = Vec<usize>> {
        (0..self.outer * self.inner).map(|line| {
            let start = line / self.inner * self.size * self.inner + line % self.inner;
            (0..self.size).map(|i| start + i * self.inner).collect()
        })
    }

    /// Where along the axis an element lies.
    pub fn along(&self, place: usize) -> usize {
        place / self.inner % self.size
    }
}
