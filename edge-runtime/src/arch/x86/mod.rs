//! x86-64 with AVX2 or AVX-512: what the processor has is asked for at run time, and without either the portable
//! kernels run. Integers are theirs, for panels hold weights of int8 and nothing beyond their columns, which is checked
//! when an image is parsed.

#![allow(unsafe_code)]

mod avx2;
mod avx512;
mod dots;
mod foot;
mod ready;
mod rows;
mod sums;
#[cfg(test)]
mod tests;
mod vector;
mod windows;

use super::Four;
use super::portable::panels as portable;
use avx2::Avx2;
use avx512::Avx512;
use core::cell::Cell;
use foot::Matrix;
use no_std_core::numerics::Output;
use no_std_core::panels::{COLUMNS, Layout, Panels};
pub(crate) use ready::Plain;
use ready::Ready;
use std::is_x86_feature_detected as detected;
pub(crate) use sums::Sum;
pub(crate) use windows::{SLACK, Windows};

/// Instructions that this processor was seen to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Avx2,
    /// With VNNI.
    Avx512,
}

impl Level {
    /// The best there is. The answer is kept by the standard library.
    pub(crate) fn detect() -> Option<Self> {
        let avx512 = detected!("avx512f")
            && detected!("avx512bw")
            && detected!("avx512vl")
            && detected!("avx512vnni");
        match avx512 {
            true => Some(Level::Avx512),
            false => detected!("avx2").then_some(Level::Avx2),
        }
    }
}

/// A kernel for each level, from one that is generic over the vector.
macro_rules! kernels {
    ($name:ident, $module:ident::$generic:ident, ($($argument:ident: $type:ty),*) -> $result:ty) => {
        mod $name {
            use super::*;

            /// # Safety
            ///
            /// As the generic one's, of which the level vouches for the instructions.
            pub(super) unsafe fn at(level: Level, $($argument: $type),*) -> $result {
                // SAFETY: the caller's; a level is there only where its instructions are.
                unsafe {
                    match level {
                        Level::Avx2 => avx2($($argument),*),
                        Level::Avx512 => avx512($($argument),*),
                    }
                }
            }

            #[target_feature(enable = "avx2")]
            unsafe fn avx2($($argument: $type),*) -> $result {
                // SAFETY: the caller's.
                unsafe { $module::$generic::<Avx2>($($argument),*) }
            }

            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
            unsafe fn avx512($($argument: $type),*) -> $result {
                // SAFETY: the caller's.
                unsafe { $module::$generic::<Avx512>($($argument),*) }
            }
        }
    };
}

kernels!(one, rows::dense, (matrix: &Matrix, x: &[Four], y: *mut i8, rows: usize) -> ());
kernels!(several, windows::outputs, (matrix: &Matrix, at: &Windows, rows: usize, y: *mut i8) -> bool);

kernels!(dotted, dots::dots, (x: &[i8], weights: &[u8], sums: &mut [i32]) -> ());
kernels!(added, sums::add, (sum: &Sum, a: &[Cell<i8>], b: &[Cell<i8>], y: &[Cell<i8>]) -> ());

/// The sums of rows of plain weights times `x`; whether it was done: all of it, or nothing.
pub(crate) fn dots(x: &[i8], weights: &[u8], sums: &mut [i32]) -> bool {
    dots_at(Level::detect(), x, weights, sums)
}

fn dots_at(level: Option<Level>, x: &[i8], weights: &[u8], sums: &mut [i32]) -> bool {
    let enough = sums.len().checked_mul(x.len());
    let enough = enough.is_some_and(|bytes| bytes <= weights.len());
    level.filter(|_| enough).is_some_and(|level| {
        // SAFETY: the level has been seen to be there, and weights for all rows.
        unsafe { dotted::at(level, x, weights, sums) };
        true
    })
}

/// Adds `a` and `b` to `y`, which is the memory of one of them or of neither; whether it was done: all of it, or nothing.
pub(crate) fn add(sum: &Sum, a: &[Cell<i8>], b: &[Cell<i8>], y: &[Cell<i8>]) -> bool {
    add_at(Level::detect(), sum, a, b, y)
}

fn add_at(level: Option<Level>, sum: &Sum, a: &[Cell<i8>], b: &[Cell<i8>], y: &[Cell<i8>]) -> bool {
    level.filter(|_| sum.is_fast()).is_some_and(|level| {
        // SAFETY: the level has been seen to be there.
        unsafe { added::at(level, sum, a, b, y) };
        true
    })
}

/// A dense layer whose weights have been set out once.
#[derive(Debug)]
pub(crate) struct Prepared(Order);

/// Of each level.
#[derive(Debug)]
enum Order {
    Avx2(Ready<Avx2>),
    Avx512(Ready<Avx512>),
}

impl Prepared {
    /// Of so many rows in panels; none where the processor or memory lacks what it takes.
    pub(crate) fn of_panels(panels: Panels, rows: usize, range: &Output) -> Option<Self> {
        Self::of_panels_at(Level::detect()?, panels, rows, range)
    }

    fn of_panels_at(level: Level, panels: Panels, rows: usize, range: &Output) -> Option<Self> {
        let matrix = Matrix::new(panels, Layout::Shared, rows, range)?;
        let tiles = panels.columns().div_ceil(COLUMNS);
        // SAFETY: a level is there only where its instructions are; `matrix` has seen to panels for all rows.
        Some(Self(unsafe {
            match level {
                Level::Avx2 => Order::Avx2(Ready::of_panels(&matrix, rows, tiles)?),
                Level::Avx512 => Order::Avx512(Ready::of_panels(&matrix, rows, tiles)?),
            }
        }))
    }

    /// Of plain rows; none where the processor or memory lacks what it takes, or they are of other columns or
    /// factors.
    pub(crate) fn of_rows(plain: &Plain) -> Option<Self> {
        Self::of_rows_at(Level::detect()?, plain)
    }

    fn of_rows_at(level: Level, plain: &Plain) -> Option<Self> {
        // SAFETY: a level is there only where its instructions are.
        Some(Self(unsafe {
            match level {
                Level::Avx2 => Order::Avx2(Ready::of_rows(plain)?),
                Level::Avx512 => Order::Avx512(Ready::of_rows(plain)?),
            }
        }))
    }

    /// The outputs; whether it was done: all of it, or nothing.
    pub(crate) fn dense(&self, x: &[Four], y: &[Cell<i8>]) -> bool {
        let (fours, outputs) = (x.len(), y.len());
        let fits = match &self.0 {
            Order::Avx2(ready) => ready.fits(fours, outputs),
            Order::Avx512(ready) => ready.fits(fours, outputs),
        };
        let y = y.as_ptr().cast_mut().cast();
        if fits {
            // SAFETY: what is prepared for a level is there only where its instructions are.
            unsafe {
                match &self.0 {
                    Order::Avx2(ready) => ready_avx2(ready, x, y),
                    Order::Avx512(ready) => ready_avx512(ready, x, y),
                }
            }
        }
        fits
    }
}

#[target_feature(enable = "avx2")]
unsafe fn ready_avx2(ready: &Ready<Avx2>, x: &[Four], y: *mut i8) {
    // SAFETY: the caller's.
    unsafe { ready::dense(ready, x, y) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn ready_avx512(ready: &Ready<Avx512>, x: &[Four], y: *mut i8) {
    // SAFETY: the caller's.
    unsafe { ready::dense(ready, x, y) }
}

/// The outputs of whole panels; columns beyond `x` count as zeros.
pub(crate) fn dense(x: &[Four], y: &[Cell<i8>], panels: Panels, range: &Output) {
    dense_at(Level::detect(), x, y, panels, range);
}

fn dense_at(level: Option<Level>, x: &[Four], y: &[Cell<i8>], panels: Panels, range: &Output) {
    let tiles = panels.columns().div_ceil(COLUMNS);
    let matrix = Matrix::new(panels, Layout::Shared, y.len(), range);
    let x = x.get(..tiles).unwrap_or(x);
    match level.zip(matrix) {
        // SAFETY: `matrix` has seen to panels for all rows, and there are no more fours than tiles.
        Some((level, matrix)) => unsafe {
            one::at(level, &matrix, x, y.as_ptr().cast_mut().cast(), y.len());
        },
        None => portable::dense(x, y, panels, range),
    }
}

/// The outputs at every position, one behind the other, which are nowhere in the input; whether it was done: all of
/// them, or none.
pub(crate) fn windows(at: &Windows, y: &[Cell<i8>], panels: Panels, range: &Output) -> bool {
    windows_at(Level::detect(), at, y, panels, range)
}

fn windows_at(
    level: Option<Level>,
    at: &Windows,
    y: &[Cell<i8>],
    panels: Panels,
    range: &Output,
) -> bool {
    let rows = y.len().checked_div(at.count()).unwrap_or(0);
    let of_tap = match panels.layout {
        Layout::Shared => at.channels,
        Layout::Channels => 1,
    };
    let fits = panels.columns() == at.taps[0] * at.taps[1] * of_tap
        && (panels.layout == Layout::Shared || rows <= at.channels)
        && at.inside();
    let matrix = Matrix::new(panels, panels.layout, rows, range).filter(|_| fits);
    let (mut at, mut rows) = (*at, rows);
    if panels.layout == Layout::Channels && rows == at.channels {
        // Panels for them are the same again.
        rows *= at.side_by_side();
    }
    level.zip(matrix).is_some_and(|(level, matrix)| {
        let y = y.as_ptr().cast_mut().cast();
        // SAFETY: `matrix` has seen to panels for all rows, `fits` to what is under the windows; there are as
        // many outputs as rows at each of the positions.
        unsafe { several::at(level, &matrix, &at, rows, y) }
    })
}
