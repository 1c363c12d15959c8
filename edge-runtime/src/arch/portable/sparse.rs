//! A filter's weights that are not zero, one at a time.

use crate::arch::sparse::{Entry, Places, Rescale, WINDOWS, add, fields, four};

/// The outputs of `places.fours` times four windows.
///
/// # Safety
/// All that an entry stands for may be read, and all outputs written.
#[inline(never)]
pub(crate) unsafe fn fours(entries: &[Entry], rescale: &Rescale, places: &Places) {
    let Places { mut x, mut y, .. } = *places;
    for _ in 0..places.fours {
        let [mut a, mut b, mut c, mut d] = [rescale.bias; WINDOWS];
        for entry in entries {
            let (offset, _, weight) = fields(entry);
            // SAFETY: as the caller says.
            let elements = unsafe { four(x.add(offset), places.step) };
            [a, b, c, d] = add([a, b, c, d], elements, weight);
        }
        for sum in [a, b, c, d] {
            // SAFETY: as the caller says.
            unsafe { *y = rescale.output(sum) };
            y = y.wrapping_add(places.apart);
        }
        x = x.wrapping_add(WINDOWS * places.step);
    }
}
