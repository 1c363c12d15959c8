//! Convolutions: each weight is used at several positions at once.
//!
//! Inputs come as bytes `x + 128`, which makes a row's sum 128 · Σw too large: what that is for all positions, sums
//! start with.

use super::foot::{Foot, Matrix, tile_offset};
use super::vector::{LANES, Places, Vector};
use core::ops::Range;
use no_std_core::panels::{COLUMNS, Layout, ROWS};
use std::vec::Vec;

/// Elements behind the last window that may be read, though they do not count.
pub(crate) const SLACK: usize = LANES;

/// Windows at positions of a grid, all within what they slide over.
#[derive(Clone, Copy)]
pub(crate) struct Windows<'s> {
    /// Elements `x + 128`, with [`SLACK`] of them behind the last window.
    pub(crate) x: &'s [u8],
    /// Down and across.
    pub(crate) positions: [usize; 2],
    /// Elements from a position to the next, down and across.
    pub(crate) steps: [usize; 2],
    /// Taps down and across.
    pub(crate) taps: [usize; 2],
    /// Elements from a tap to the next, down and across.
    pub(crate) apart: [usize; 2],
    /// Elements of a tap.
    pub(crate) channels: usize,
}

impl Windows<'_> {
    pub(super) fn count(&self) -> usize {
        self.positions[0] * self.positions[1]
    }

    /// Whether all are within `x`, and the elements of a row of taps side by side.
    pub(super) fn inside(&self) -> bool {
        let last = |count: usize, step: usize| count.checked_sub(1)?.checked_mul(step);
        let end = || {
            let mut end = self.channels.checked_add(SLACK)?;
            for axis in 0..2 {
                let corner = last(self.positions[axis], self.steps[axis])?;
                let tap = last(self.taps[axis], self.apart[axis])?;
                end = end.checked_add(corner)?.checked_add(tap)?;
            }
            Some(end)
        };
        end().is_some_and(|end| end <= self.x.len())
    }

    /// Where windows begin, from that of a position on.
    fn corners(&self, first: usize) -> impl Iterator<Item = *const u8> {
        let (mut down, mut across) = (first / self.positions[1], first % self.positions[1]);
        core::iter::repeat_with(move || {
            let corner = down * self.steps[0] + across * self.steps[1];
            across += 1;
            if across == self.positions[1] {
                (down, across) = (down + 1, 0);
            }
            self.x.as_ptr().wrapping_add(corner)
        })
    }

    /// By channel, where there are few of them: as many neighbouring positions as rows have room for as one, whose
    /// windows and outputs stand side by side. How many that are.
    pub(super) fn side_by_side(&mut self) -> usize {
        let abreast = LANES / self.channels.clamp(1, LANES);
        let [_, across] = self.positions;
        let neighbours = self.steps[1] == self.channels && across.is_multiple_of(abreast);
        if !neighbours || !LANES.is_multiple_of(self.channels) {
            return 1;
        }
        self.positions[1] /= abreast;
        self.steps[1] *= abreast;
        self.channels *= abreast;
        abreast
    }
}

/// What rows are multiplied by, as [`Layout`] has it.
///
/// # Safety
///
/// As [`Vector`]'s: `panels` are places of whole panels with so many tiles or taps, and behind `x` there are four
/// elements or sixteen.
trait Form<V: Vector> {
    type Weights: Copy;

    /// Of four columns or one, of sixteen rows.
    unsafe fn weights(panels: Places, column: usize) -> Self::Weights;

    /// Adds products to sums.
    unsafe fn dot(sums: V, weights: Self::Weights, x: *const u8) -> V;
}

/// Columns in fours, of which all rows have the same.
struct Shared;

impl<V: Vector> Form<V> for Shared {
    type Weights = V::Weights;

    #[inline(always)]
    unsafe fn weights([a, b, c, d]: Places, column: usize) -> V::Weights {
        let at = |panel: *const u8| panel.wrapping_add(tile_offset(column));
        // SAFETY: the caller's.
        unsafe { V::signed_tiles([at(a), at(b), at(c), at(d)]) }
    }

    #[inline(always)]
    unsafe fn dot(sums: V, weights: V::Weights, x: *const u8) -> V {
        // SAFETY: the caller's.
        unsafe { sums.dot_unsigned(weights, V::unsigned_columns(x)) }
    }
}

/// Columns one by one, of which each row has its own.
struct Channels;

impl<V: Vector> Form<V> for Channels {
    type Weights = V;

    #[inline(always)]
    unsafe fn weights([a, b, c, d]: Places, column: usize) -> V {
        let at = |panel: *const u8| panel.wrapping_add(tile_offset(0) + column * ROWS);
        // SAFETY: the caller's.
        unsafe { V::weights([at(a), at(b), at(c), at(d)]) }
    }

    #[inline(always)]
    unsafe fn dot(sums: V, weights: V, x: *const u8) -> V {
        // SAFETY: the caller's.
        unsafe { sums.multiply_add(weights, V::widen_unsigned(x)) }
    }
}

/// Of sixteen rows each: weights in the order in which they are used, and what makes outputs of their sums.
struct Prepared<W, V> {
    weights: Vec<W>,
    feet: Vec<Foot<V>>,
    /// Weights for each foot.
    each: usize,
    rows: usize,
}

impl<W: Copy, V: Vector> Prepared<W, V> {
    /// None where memory is short.
    ///
    /// # Safety
    ///
    /// As [`Vector`]'s; the matrix is of so many rows, whose panels have so many tiles or taps, as the form asks
    /// for.
    #[inline(always)]
    unsafe fn new<F: Form<V, Weights = W>>(
        matrix: &Matrix,
        rows: usize,
        each: usize,
    ) -> Option<Self> {
        /// What an input of zero stands as.
        const ZEROS: [u8; LANES] = [128; LANES];
        let blocks = rows.div_ceil(LANES);
        let (mut weights, mut feet) = (Vec::<W>::new(), Vec::new());
        feet.try_reserve_exact(blocks).ok()?;
        weights.try_reserve_exact(blocks.checked_mul(each)?).ok()?;
        for row in (0..rows).step_by(LANES) {
            let panels = matrix.places(row);
            // SAFETY: the caller's.
            unsafe {
                let mut sums = V::splat(0);
                let room = weights.spare_capacity_mut().iter_mut();
                for (column, to) in room.take(each).enumerate() {
                    let columns = F::weights(panels, column);
                    sums = F::dot(sums, columns, ZEROS.as_ptr());
                    to.write(columns);
                }
                // There is room for all, as many as are written here each time.
                weights.set_len(weights.len() + each);
                let mut foot = matrix.foot::<V>(panels);
                foot.less(sums);
                feet.push(foot);
            }
        }
        Some(Self {
            weights,
            feet,
            each,
            rows,
        })
    }
}

/// How a window's elements are gone through.
struct Walk {
    /// Steps in a row, and elements from one to the next.
    steps: usize,
    step: usize,
    /// Elements from a row to the next.
    apart: usize,
    /// Elements further for each of the matrix's rows.
    by_row: usize,
}

/// Positions in runs of nearly equal length, of at most so many.
fn runs(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let runs = count.div_ceil(most).max(1);
    let len = count.div_ceil(runs).max(1);
    (0..count)
        .step_by(len)
        .map(move |at| at..count.min(at + len))
}

/// Calls a block of as many positions as a run has.
macro_rules! blocks {
    ($count:expr, $form:ident, ($($argument:expr),*)) => {
        match $count {
            1 => block::<V, $form, 1>($($argument),*),
            2 => block::<V, $form, 2>($($argument),*),
            3 => block::<V, $form, 3>($($argument),*),
            4 => block::<V, $form, 4>($($argument),*),
            5 => block::<V, $form, 5>($($argument),*),
            6 => block::<V, $form, 6>($($argument),*),
            7 => block::<V, $form, 7>($($argument),*),
            _ => block::<V, $form, 8>($($argument),*),
        }
    };
}

/// The outputs of all rows at every position, in `y` one position behind the other; whether there was memory for
/// it.
///
/// # Safety
///
/// As [`Vector`]'s; the matrix is of so many rows, its panels have as many columns as a window, which is inside,
/// and `y` has room for the outputs.
#[inline(always)]
pub(super) unsafe fn outputs<V: Vector>(
    matrix: &Matrix,
    windows: &Windows,
    rows: usize,
    y: *mut i8,
) -> bool {
    // SAFETY: the caller's.
    let done = unsafe {
        match matrix.layout {
            Layout::Shared => shared::<V>(matrix, windows, rows, y),
            Layout::Channels => by_channel::<V>(matrix, windows, rows, y),
        }
    };
    done.is_some()
}

/// # Safety
///
/// As [`outputs`]'.
#[inline(always)]
unsafe fn shared<V: Vector>(
    matrix: &Matrix,
    windows: &Windows,
    rows: usize,
    y: *mut i8,
) -> Option<()> {
    let mut patches = Patches::new(windows)?;
    let tiles = (windows.taps[0] * windows.row()).div_ceil(COLUMNS);
    let walk = patches.walk();
    // SAFETY: the caller's; a patch has a four for each tile.
    unsafe {
        let prepared = Prepared::<_, V>::new::<Shared>(matrix, rows, tiles)?;
        for run in runs(windows.count(), V::POSITIONS) {
            let (count, y) = (run.len(), y.wrapping_add(run.start * rows));
            let x = patches.of(run);
            blocks!(count, Shared, (&prepared, &walk, x, y));
        }
    }
    Some(())
}

/// # Safety
///
/// As [`outputs`]'.
#[inline(always)]
unsafe fn by_channel<V: Vector>(
    matrix: &Matrix,
    windows: &Windows,
    rows: usize,
    y: *mut i8,
) -> Option<()> {
    let walk = Walk {
        steps: windows.taps[1],
        step: windows.apart[1],
        apart: windows.apart[0],
        by_row: 1,
    };
    // SAFETY: the caller's; behind each tap there are channels for all rows and the slack.
    unsafe {
        let taps = windows.taps[0] * windows.taps[1];
        let prepared = Prepared::<_, V>::new::<Channels>(matrix, rows, taps)?;
        for run in runs(windows.count(), V::POSITIONS) {
            let (count, y) = (run.len(), y.wrapping_add(run.start * rows));
            let mut x = [core::ptr::null(); MOST];
            let corners = windows.corners(run.start);
            x.iter_mut()
                .zip(corners)
                .for_each(|(x, corner)| *x = corner);
            blocks!(count, Channels, (&prepared, &walk, x, y));
        }
    }
    Some(())
}

/// The outputs of the first `N` of these positions.
///
/// # Safety
///
/// As [`outputs`]', of which `y` is behind the first position; what is walked over behind `x` is there.
#[inline(always)]
unsafe fn block<V: Vector, F: Form<V>, const N: usize>(
    prepared: &Prepared<F::Weights, V>,
    walk: &Walk,
    x: [*const u8; MOST],
    y: *mut i8,
) {
    let blocks = prepared.feet.len();
    let mut block = 0;
    // SAFETY: the caller's.
    unsafe {
        while V::TWICE && prepared.each >= MANY && block + 2 <= blocks {
            rows::<V, F, 2, N>(prepared, walk, block, x, y);
            block += 2;
        }
        while block < blocks {
            rows::<V, F, 1, N>(prepared, walk, block, x, y);
            block += 1;
        }
    }
}

/// Those of `B` blocks of sixteen rows, from the first on.
///
/// # Safety
///
/// As [`block`]'s, and there are so many blocks.
#[inline(always)]
unsafe fn rows<V: Vector, F: Form<V>, const B: usize, const N: usize>(
    prepared: &Prepared<F::Weights, V>,
    walk: &Walk,
    first: usize,
    x: [*const u8; MOST],
    y: *mut i8,
) {
    let first_row = first * LANES;
    let mut weights = prepared
        .weights
        .as_ptr()
        .wrapping_add(first * prepared.each);
    let end = weights.wrapping_add(prepared.each);
    // SAFETY: the caller's; each block has `each` weights, in whole rows of steps.
    unsafe {
        let mut sums = [[V::splat(0); N]; B];
        let mut offset = walk.by_row * first_row;
        while weights != end {
            let mut further = offset;
            for _ in 0..walk.steps {
                for n in 0..N {
                    for (b, sums) in sums.iter_mut().enumerate() {
                        let weights = *weights.wrapping_add(b * prepared.each);
                        let further = further + walk.by_row * b * LANES;
                        sums[n] = F::dot(sums[n], weights, x[n].wrapping_add(further));
                    }
                }
                further += walk.step;
                weights = weights.wrapping_add(1);
            }
            offset += walk.apart;
        }
        for (b, sums) in sums.into_iter().enumerate() {
            let row = first_row + b * LANES;
            let foot = prepared.feet.get_unchecked(first + b);
            let y = y.wrapping_add(row);
            foot.store(sums, y, prepared.rows, prepared.rows - row);
        }
    }
}

/// Weights of a block from which on twice as many sums pay: with fewer of them, what is done with each sum counts more
/// than that additions wait for one another.
const MANY: usize = 48;

/// Most positions of a block.
const MOST: usize = 8;

/// Patches that are gathered together, long before they are read: what has just been written in pieces cannot be
/// read in others until it has reached the cache.
const GATHERED: usize = 8 * MOST;

/// What is under windows, in whole fours.
struct Patches<'s> {
    windows: &'s Windows<'s>,
    /// Room for those that are gathered; none where rows of taps are in fours as they stand.
    gathered: Vec<u8>,
    /// Of which positions these are.
    positions: Range<usize>,
    /// Elements of each of them.
    len: usize,
}

impl<'s> Patches<'s> {
    /// None where memory is short.
    fn new(windows: &'s Windows<'s>) -> Option<Self> {
        let (row, mut gathered) = (windows.row(), Vec::new());
        let len = (windows.taps[0] * row).next_multiple_of(COLUMNS);
        if !row.is_multiple_of(COLUMNS) {
            let room = GATHERED * len + SLACK;
            gathered.try_reserve_exact(room).ok()?;
            gathered.resize(room, 0);
        }
        Some(Self {
            windows,
            gathered,
            positions: 0..0,
            len,
        })
    }

    fn walk(&self) -> Walk {
        let (len, apart) = match self.gathered.is_empty() {
            true => (self.windows.row(), self.windows.apart[0]),
            false => (self.len, 0),
        };
        Walk {
            steps: len / COLUMNS,
            step: COLUMNS,
            apart,
            by_row: 0,
        }
    }

    /// Those of positions, at most [`MOST`], until it is called again.
    ///
    /// # Safety
    ///
    /// There are such positions, and windows are inside.
    #[inline(always)]
    unsafe fn of(&mut self, positions: Range<usize>) -> [*const u8; MOST] {
        let mut patches = [core::ptr::null(); MOST];
        if self.gathered.is_empty() {
            let corners = self.windows.corners(positions.start);
            patches
                .iter_mut()
                .zip(corners)
                .for_each(|(patch, corner)| *patch = corner);
            return patches;
        }
        if positions.end > self.positions.end {
            // SAFETY: the caller's.
            unsafe { self.gather(positions.start) };
        }
        let room = self.gathered.as_ptr();
        for (patch, at) in patches.iter_mut().zip(positions) {
            *patch = room.wrapping_add((at - self.positions.start) * self.len);
        }
        patches
    }

    /// Those from a position on.
    ///
    /// # Safety
    ///
    /// Windows are inside.
    #[inline(always)]
    unsafe fn gather(&mut self, first: usize) {
        self.positions = first..self.windows.count().min(first + GATHERED);
        let mut to = self.gathered.as_mut_ptr();
        for (corner, _) in self.windows.corners(first).zip(self.positions.clone()) {
            // SAFETY: the caller's; there is room for so many patches and the slack.
            unsafe { self.windows.gather(corner, to) };
            to = to.wrapping_add(self.len);
        }
    }
}

impl Windows<'_> {
    /// Elements of a row of taps.
    fn row(&self) -> usize {
        self.taps[1] * self.channels
    }

    /// Sixteen elements at a time, of which those too many are overwritten by the next row or patch, or in the
    /// last tile meet weights of zero.
    ///
    /// # Safety
    ///
    /// A window begins at `corner`, and behind `to` is room for it and the slack.
    #[inline(always)]
    unsafe fn gather(&self, corner: *const u8, to: *mut u8) {
        let len = self.row();
        for row in 0..self.taps[0] {
            let from = corner.wrapping_add(row * self.apart[0]);
            let to = to.wrapping_add(row * len);
            for at in (0..len).step_by(SLACK) {
                let (from, to) = (from.wrapping_add(at), to.wrapping_add(at));
                // SAFETY: at most the slack is read behind the window and written behind the patch.
                unsafe {
                    to.cast::<[u8; SLACK]>()
                        .write(from.cast::<[u8; SLACK]>().read())
                };
            }
        }
    }
}
