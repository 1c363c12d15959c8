//! Where the elements of a graph's value stand in a tensor. Reshaping, transposing, slicing, repeating
//! and reversing change this map alone; elements move only where an operator needs them elsewhere.

use crate::program::Axis;

/// Elements at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// How many.
    pub(crate) size: usize,
    /// From one to the next, in elements of the tensor; 0 repeats, negative goes backwards.
    pub(crate) stride: isize,
}

/// A value's elements, row-major, as places in a tensor: nested loops, outermost first, each step of
/// which moves by its stride.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Place of the tensor in the program.
    pub(crate) tensor: usize,
    /// Place of the first element.
    pub(crate) offset: usize,
    /// Merged as far as possible: no size is 1.
    runs: Vec<Run>,
}

impl View {
    pub(crate) fn new(tensor: usize, offset: usize, runs: Vec<Run>) -> Self {
        let runs = merged(runs);
        Self {
            tensor,
            offset,
            runs,
        }
    }

    /// All of a tensor in its own order.
    pub(crate) fn rows(tensor: usize, len: usize) -> Self {
        Self::new(
            tensor,
            0,
            vec![Run {
                size: len,
                stride: 1,
            }],
        )
    }

    /// A value whose axes stand in a tensor in another order, outermost first.
    pub(crate) fn packed(tensor: usize, shape: &[usize], order: &[usize]) -> Self {
        let mut runs: Vec<Run> = shape.iter().map(|&size| Run { size, stride: 0 }).collect();
        let mut stride = 1;
        for &axis in order.iter().rev() {
            runs[axis].stride = stride;
            stride *= shape[axis] as isize;
        }
        Self::new(tensor, 0, runs)
    }

    /// The same places of another tensor.
    pub(crate) fn on(self, tensor: usize) -> Self {
        Self { tensor, ..self }
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Elements of the value.
    pub(crate) fn len(&self) -> usize {
        self.runs.iter().map(|run| run.size).product()
    }

    /// Whether each of a tensor's `len` elements is named just once.
    pub(crate) fn is_whole(&self, len: usize) -> bool {
        let mut sorted = self.runs.clone();
        sorted.sort_by_key(|run| run.stride);
        let mut packed = 1;
        let dense = sorted.iter().all(|run| {
            let fits = run.stride == packed as isize;
            packed *= run.size;
            fits
        });
        dense && packed == len && self.offset == 0
    }

    /// The runs of each axis of a shape; `None` where the axes cut through runs.
    pub(crate) fn axes(&self, shape: &[usize]) -> Option<Vec<Vec<Run>>> {
        let mut left = self.runs.clone();
        let mut axes = Vec::new();
        for &size in shape.iter().rev() {
            axes.push(take_back(&mut left, size)?);
        }
        axes.reverse();
        Some(axes)
    }

    /// With the axes of a shape in another order: axis `i` is the former axis `perm[i]`.
    pub(crate) fn transposed(&self, shape: &[usize], perm: &[usize]) -> Option<Self> {
        let axes = self.axes(shape)?;
        let runs = perm.iter().flat_map(|&axis| axes[axis].clone()).collect();
        Some(Self::new(self.tensor, self.offset, runs))
    }

    /// Of one axis the places that two nested loops of equal steps name.
    pub(crate) fn selected(&self, shape: &[usize], axis: usize, pattern: &Pattern) -> Option<Self> {
        let mut axes = self.axes(shape)?;
        let run = match axes[axis][..] {
            [] => Run { size: 1, stride: 0 },
            [run] => run,
            _ => return None,
        };
        axes[axis] = pattern
            .loops
            .iter()
            .map(|&(size, step)| Run {
                size,
                stride: step * run.stride,
            })
            .collect();
        let offset = self
            .offset
            .checked_add_signed(pattern.start as isize * run.stride)?;
        let runs = axes.into_iter().flatten().collect();
        Some(Self::new(self.tensor, offset, runs))
    }

    /// With axes of one element repeated up to another shape, aligned at the last axis.
    pub(crate) fn broadcast(&self, shape: &[usize], to: &[usize]) -> Option<Self> {
        let axes = self.axes(shape)?;
        let missing = to.len() - shape.len();
        let repeated = |size: usize| vec![Run { size, stride: 0 }];
        let runs = (0..to.len()).flat_map(|axis| match axis.checked_sub(missing) {
            Some(own) if shape[own] == to[axis] => axes[own].clone(),
            _ => repeated(to[axis]),
        });
        Some(Self::new(self.tensor, self.offset, runs.collect()))
    }

    /// The places in row-major order of the value.
    pub(crate) fn places(&self) -> Vec<usize> {
        let mut places = vec![self.offset as isize];
        for run in &self.runs {
            let steps = |&at: &isize| (0..run.size as isize).map(move |i| at + i * run.stride);
            places = places.iter().flat_map(steps).collect();
        }
        places.into_iter().map(|place| place as usize).collect()
    }
}

/// Joins loops that walk on where the inner one ends; drops those of one step.
fn merged(runs: Vec<Run>) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::new();
    for run in runs.into_iter().filter(|run| run.size != 1) {
        match out.last_mut() {
            Some(last) if last.stride == run.stride * run.size as isize => {
                *last = Run {
                    size: last.size * run.size,
                    stride: run.stride,
                }
            }
            _ => out.push(run),
        }
    }
    out
}

/// Takes the innermost `size` elements off some runs, splitting one where it must.
fn take_back(runs: &mut Vec<Run>, size: usize) -> Option<Vec<Run>> {
    let (mut taken, mut left) = (Vec::new(), size);
    while left > 1 {
        let run = runs.pop()?;
        if left.is_multiple_of(run.size) {
            left /= run.size;
            taken.push(run);
        } else if run.size.is_multiple_of(left) {
            runs.push(Run {
                size: run.size / left,
                stride: run.stride * left as isize,
            });
            taken.push(Run { size: left, ..run });
            left = 1;
        } else {
            return None;
        }
    }
    taken.reverse();
    Some(taken)
}

/// Both maps as common loops: `(steps, from, to)`, outermost first; `None` where the loops of one cut
/// through those of the other.
pub(crate) fn common(from: &[Run], to: &[Run]) -> Option<Vec<(usize, isize, isize)>> {
    let (mut from, mut to) = (from.to_vec(), to.to_vec());
    let mut loops = Vec::new();
    while let (Some(&a), Some(&b)) = (from.last(), to.last()) {
        let size = if b.size.is_multiple_of(a.size) {
            a.size
        } else {
            b.size
        };
        let (a, b) = (take_back(&mut from, size)?, take_back(&mut to, size)?);
        loops.push((size, a.first()?.stride, b.first()?.stride));
    }
    loops.reverse();
    (from.is_empty() && to.is_empty()).then_some(loops)
}

/// The loops of a block that moves a value from one map to another, in order of writing.
pub(crate) fn block_axes(from: &View, to: &View) -> Option<Vec<Axis>> {
    let mut loops = common(from.runs(), to.runs())?;
    loops.sort_by_key(|&(_, _, to)| std::cmp::Reverse(to));
    let mut axes: Vec<Axis> = Vec::new();
    for (count, from_step, to_step) in loops {
        let to_step = usize::try_from(to_step).ok()?;
        match axes.last_mut() {
            Some(last)
                if last.to_step == to_step * count
                    && last.from_step == from_step * count as isize =>
            {
                *last = Axis {
                    count: last.count * count,
                    from_step,
                    to_step,
                }
            }
            _ => axes.push(Axis {
                count,
                from_step,
                to_step,
            }),
        }
    }
    Some(axes)
}

/// Places along an axis as at most two nested loops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    start: usize,
    /// Steps and their lengths, outermost first.
    loops: Vec<(usize, isize)>,
}

impl Pattern {
    /// The longest pattern that begins a list of places, and how many of them it names: a slice, a
    /// reversal, a repetition of each or of all.
    pub(crate) fn leading(places: &[usize]) -> (Self, usize) {
        let step = |i: usize| places[i + 1] as isize - places[i] as isize;
        let (start, count) = (places[0], places.len());
        let inner = (1..count - 1).find(|&i| step(i) != step(0));
        let inner = inner.map_or(count, |last| last + 1);
        if inner == count || inner == 1 {
            let loops = vec![(inner, if count > 1 { step(0) } else { 0 })];
            return (Self { start, loops }, inner);
        }
        let outer_step = places[inner] as isize - start as isize;
        let repeats = |&outer: &usize| {
            let Some(chunk) = places.get(outer * inner..(outer + 1) * inner) else {
                return false;
            };
            let expected =
                |i: usize| start as isize + outer as isize * outer_step + i as isize * step(0);
            chunk
                .iter()
                .enumerate()
                .all(|(i, &place)| place as isize == expected(i))
        };
        let outer = (1..).take_while(repeats).count() + 1;
        let loops = if outer == 1 {
            vec![(inner, step(0))]
        } else {
            vec![(outer, outer_step), (inner, step(0))]
        };
        (Self { start, loops }, outer * inner)
    }

    /// All of a list of places as one pattern.
    pub(crate) fn of(places: &[usize]) -> Option<Self> {
        let (pattern, named) = Self::leading(places);
        (named == places.len()).then_some(pattern)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `[2, 3, 4]` whose elements stand as `[3, 4, 2]`.
    fn channels_last() -> View {
        View::packed(0, &[2, 3, 4], &[1, 2, 0])
    }

    fn at(c: usize, y: usize, x: usize) -> usize {
        (y * 4 + x) * 2 + c
    }

    #[test]
    fn views_name_the_elements_that_indices_name() {
        let view = channels_last();
        assert!(view.is_whole(24));
        let expected: Vec<usize> = (0..24).map(|i| at(i / 12, i / 4 % 3, i % 4)).collect();
        assert_eq!(view.places(), expected);

        let turned = view.transposed(&[2, 3, 4], &[2, 0, 1]).unwrap();
        let expected: Vec<usize> = (0..24).map(|i| at(i / 3 % 2, i % 3, i / 6)).collect();
        assert_eq!(turned.places(), expected);

        let pattern = Pattern::of(&[3, 1]).unwrap();
        let picked = view.selected(&[2, 3, 4], 2, &pattern).unwrap();
        let expected: Vec<usize> = (0..12)
            .map(|i| at(i / 6, i / 2 % 3, 3 - i % 2 * 2))
            .collect();
        assert_eq!(picked.places(), expected);
        assert!(!picked.is_whole(24));
    }

    #[test]
    fn repetitions_are_views() {
        let view = View::rows(0, 3);
        for places in [
            vec![0, 0, 1, 1, 2, 2],
            vec![0, 1, 2, 0, 1, 2],
            vec![2, 1, 0],
        ] {
            let pattern = Pattern::of(&places).unwrap();
            assert_eq!(view.selected(&[3], 0, &pattern).unwrap().places(), places);
        }
        assert_eq!(Pattern::of(&[0, 1, 2, 1, 0]), None);
        assert_eq!(Pattern::leading(&[0, 1, 2, 1, 0]).1, 3);
        assert_eq!(Pattern::leading(&[0, 1, 5, 6, 9]).1, 4);
    }

    #[test]
    fn blocks_write_in_order_and_read_what_the_view_names() {
        let from = channels_last();
        let to = View::rows(1, 24);
        let axes = block_axes(&from, &to).unwrap();
        let mut written = vec![0; 24];
        let mut step = |c: usize, i: usize| {
            let (a, b) = (axes[0], axes[1]);
            let read = c as isize * a.from_step + i as isize * b.from_step;
            written[c * a.to_step + i * b.to_step] = read as usize;
        };
        assert_eq!(axes.len(), 2, "height and width merge");
        (0..axes[0].count).for_each(|c| (0..axes[1].count).for_each(|i| step(c, i)));
        assert_eq!(written, from.places());
    }

    #[test]
    fn axes_that_cut_through_runs_are_none() {
        let view = View::packed(0, &[4, 3], &[1, 0]);
        assert_eq!(
            view.axes(&[2, 6]),
            Some(vec![
                vec![Run { size: 2, stride: 2 }],
                vec![Run { size: 2, stride: 1 }, Run { size: 3, stride: 4 }]
            ])
        );
        assert_eq!(view.axes(&[6, 2]), None);
        assert!(View::rows(0, 12).axes(&[6, 2]).is_some());
    }
}
