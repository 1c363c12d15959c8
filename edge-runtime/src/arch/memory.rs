//! Memory a word at a time.

#![allow(unsafe_code)]

use core::cell::Cell;

/// Tiles as words, where they begin at one and the processor's first byte is the lowest.
pub(super) fn words(tiles: &[[u8; 16]]) -> Option<&[[u32; 4]]> {
    // SAFETY: any bytes are four numbers of 32 bits.
    let (before, words, after) = unsafe { tiles.align_to::<[u32; 4]>() };
    let whole = before.is_empty() && after.is_empty() && cfg!(target_endian = "little");
    whole.then_some(words)
}

/// Copies rows of so many elements, which begin so far apart, one behind the other.
#[inline(never)]
pub(crate) fn copy_rows(from: &[Cell<i8>], to: &[Cell<i8>], len: usize, apart: usize) {
    let mut rest = from;
    for to in to.chunks_exact(len.max(1)) {
        copy(rest, to);
        rest = rest.get(apart..).unwrap_or_default();
    }
}

/// Copies as many elements as both have, from the first to the last, a word at a time.
#[inline(always)]
pub(crate) fn copy(from: &[Cell<i8>], to: &[Cell<i8>]) {
    let (from, to) = (
        from.get(..to.len()).unwrap_or(from),
        to.get(..from.len()).unwrap_or(to),
    );
    #[cfg(x86)]
    let (from, to) = copy_words::<16>(from, to);
    let (from_rest, to_rest) = copy_words::<4>(from, to);
    from_rest
        .iter()
        .zip(to_rest)
        .for_each(|(from, to)| to.set(from.get()));
}

/// Copies as many words as both have; what is left.
#[inline(always)]
fn copy_words<'s, const N: usize>(
    from: &'s [Cell<i8>],
    to: &'s [Cell<i8>],
) -> (&'s [Cell<i8>], &'s [Cell<i8>]) {
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<N>(), to.as_chunks::<N>());
    from.iter()
        .zip(to)
        .for_each(|(from, to)| copy_word(from, to));
    (from_rest, to_rest)
}

#[inline(always)]
fn copy_word<const N: usize>(from: &[Cell<i8>; N], to: &[Cell<i8>; N]) {
    // SAFETY: a cell has the layout of what is in it and may be written to through a shared reference, and no
    // other reference to what is in it is there meanwhile.
    unsafe { *to.as_ptr().cast::<[i8; N]>().cast_mut() = *from.as_ptr().cast::<[i8; N]>() };
}
