use core::cell::Cell;
use no_std_core::operator::{Block, MAX_AXES};

/// Moves a block. A loop within a loop for each axis would need a depth that is known; counting up
/// like an odometer does not. The output may overlap what has been read ([`no_std_core::overlap`]).
#[inline(never)]
pub(crate) fn copy(x: &[Cell<i8>], y: &[Cell<i8>], block: &Block) {
    let [outer @ .., inner] = block.axes();
    let mut done = [0; MAX_AXES - 1];
    let (mut from, mut to) = (block.from as isize, block.to);
    loop {
        let (mut source, mut target) = (from, to);
        for _ in 0..inner.count {
            if let (Some(y), Some(x)) = (y.get(target), x.get(source as usize)) {
                y.set(x.get());
            }
            (source, target) = (source + inner.from_step, target + inner.to_step);
        }
        // The innermost loop that has not ended goes on, those within it start again.
        let mut ended = true;
        for (axis, done) in outer.iter().zip(&mut done).rev() {
            *done += 1;
            (from, to) = (from + axis.from_step, to + axis.to_step);
            if *done < axis.count {
                ended = false;
                break;
            }
            *done = 0;
            from -= axis.count as isize * axis.from_step;
            to -= axis.count * axis.to_step;
        }
        if ended {
            return;
        }
    }
}

/// One element for all, or one for each.
pub(crate) fn constant(y: &mut [i8], elements: &[u8]) {
    match elements {
        [only] => y.fill(*only as i8),
        _ => y.iter_mut().zip(elements).for_each(|(y, &e)| *y = e as i8),
    }
}

/// The table's row `x + 128`, or its last one, for each x.
pub(crate) fn embedding(x: &[i8], y: &mut [i8], columns: usize, table: &[u8]) {
    for (y, &x) in y.chunks_exact_mut(columns.max(1)).zip(x) {
        let start = (x as u8 ^ 0x80) as usize * columns;
        let last = table.len().saturating_sub(columns);
        let row = table.get(start.min(last)..).unwrap_or(&[]);
        y.iter_mut().zip(row).for_each(|(y, &e)| *y = e as i8);
    }
}
