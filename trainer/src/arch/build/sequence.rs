//! Images as sequences and back. The time of an image is its height, and the features of a step are a
//! row of all channels; of an image of height 1 time is the width, and the features are the channels.

use super::{Builder, Misfit};
use crate::graph::Op;

impl Builder {
    /// To `[time, features]`.
    pub(super) fn make_sequence(&mut self) -> Result<(), Misfit> {
        let (perm, shape) = match *self.shape() {
            [_, _] => return Ok(()),
            [channels, 1, width] => (vec![2, 1, 0], vec![width, channels]),
            [channels, height, width] => (vec![1, 0, 2], vec![height, channels * width]),
            _ => return Err(self.no_sequence()),
        };
        self.rearrange(perm, shape)
    }

    /// To `[features, 1, time]`.
    pub(super) fn make_row(&mut self) -> Result<(), Misfit> {
        let (perm, shape) = match *self.shape() {
            [_, 1, _] => return Ok(()),
            [time, features] => (vec![1, 0], vec![features, 1, time]),
            [channels, height, width] => (vec![0, 2, 1], vec![channels * width, 1, height]),
            _ => return Err(self.no_sequence()),
        };
        self.rearrange(perm, shape)
    }

    fn no_sequence(&self) -> Misfit {
        let shape = self.shape();
        format!("needs a sequence [time, features] or an image, not {shape:?}").into()
    }

    /// Turns axes, where that moves anything, and changes the shape, where it is another.
    fn rearrange(&mut self, perm: Vec<usize>, shape: Vec<usize>) -> Result<(), Misfit> {
        let own = self.shape();
        let moved: Vec<usize> = perm.iter().copied().filter(|&axis| own[axis] > 1).collect();
        if !moved.is_sorted() {
            self.simple("transpose", Op::Transpose { perm })?;
        }
        if self.shape() != shape {
            self.simple("reshape", Op::Reshape { shape })?;
        }
        Ok(())
    }
}
