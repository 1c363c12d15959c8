//! The arena: where each activation and each operator's scratch stands, decided on the host.

mod place;

use crate::program::{Operator, Program};
use place::{Block, Blocks};
use std::collections::HashMap;

/// Offsets in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArenaPlan {
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// One per tensor.
    pub tensor_offsets: Vec<usize>,
    /// One per operator; 0 where it needs none.
    pub scratch_offsets: Vec<usize>,
    /// First and last step at which each tensor is needed.
    pub lifetimes: Vec<(usize, usize)>,
}

/// Places tensors and scratch in an arena as small as a search finds. `clearances` says, for each
/// operator that may write over its own input, how far the input must begin behind the output
/// ([`no_std_core::overlap::clearance`]).
pub fn plan(program: &Program, scratch: &[usize], clearances: &[Option<usize>]) -> ArenaPlan {
    let lifetimes = lifetimes(program);
    let merged = in_place_roots(program, &lifetimes);
    let blocks = Blocks {
        blocks: blocks(program, scratch, &lifetimes, &merged),
        clearances: HashMap::new(),
    };
    let blocks = with_clearances(blocks, program, &merged, clearances);
    let (mut arena_bytes, mut offsets) = blocks.place();
    // What is carried from one inference to the next stands behind everything else.
    let tensors = program.tensors.len();
    for (step, op) in program.operators.iter().enumerate() {
        if op.kind.carries() {
            offsets[tensors + step] = arena_bytes;
            arena_bytes += scratch[step];
        }
    }
    ArenaPlan {
        arena_bytes,
        tensor_offsets: (0..tensors).map(|t| offsets[merged[t]]).collect(),
        scratch_offsets: offsets[tensors..].to_vec(),
        lifetimes,
    }
}

/// An output may move into its input where the input's memory is not needed later, nor the output's
/// before.
fn with_clearances(
    mut blocks: Blocks,
    program: &Program,
    merged: &[usize],
    clearances: &[Option<usize>],
) -> Blocks {
    for (step, (op, clearance)) in program.operators.iter().zip(clearances).enumerate() {
        let (input, output) = (merged[op.input], merged[op.output]);
        let dies = blocks.blocks[input].last == step && blocks.blocks[output].first == step;
        if let Some(clearance) = clearance.filter(|_| dies && input != output) {
            blocks.clearances.insert((input, output), clearance);
        }
    }
    blocks
}

/// Step `i` runs operator `i`; the input is there from step 0, the output to the last.
fn lifetimes(program: &Program) -> Vec<(usize, usize)> {
    let touched = |op: &Operator| op.reads().chain([op.output]);
    lifetimes_of(
        program.tensors.len(),
        [program.input, program.output],
        program.operators.iter().map(touched),
    )
}

/// First and last step that touches each of `tensors` tensors, whose input is there from the first
/// step and whose output to the last.
pub fn lifetimes_of(
    tensors: usize,
    [input, output]: [usize; 2],
    steps: impl Iterator<Item = impl Iterator<Item = usize>>,
) -> Vec<(usize, usize)> {
    let mut lifetimes = vec![(usize::MAX, 0); tensors];
    let mut touch = |tensor: usize, step: usize| {
        let (first, last) = lifetimes[tensor];
        lifetimes[tensor] = (first.min(step), last.max(step));
    };
    touch(input, 0);
    let mut last = 0;
    for (step, touched) in steps.enumerate() {
        touched.for_each(|t| touch(t, step));
        last = step;
    }
    touch(output, last);
    lifetimes
}

/// For each tensor the one whose memory it takes: itself, or an input of an in-place operator that
/// has its shape and is not read later.
fn in_place_roots(program: &Program, lifetimes: &[(usize, usize)]) -> Vec<usize> {
    let mut roots: Vec<usize> = (0..program.tensors.len()).collect();
    let shape = |tensor: usize| (program.tensors[tensor].shape, program.tensors[tensor].wide);
    for (step, op) in program.operators.iter().enumerate() {
        let dies = |&t: &usize| lifetimes[t].1 == step && shape(t) == shape(op.output);
        if let Some(input) = op.reads().find(dies).filter(|_| op.kind.in_place()) {
            roots[op.output] = roots[input];
        }
    }
    roots
}

/// One block per tensor (empty where merged into another), then one per operator's scratch.
fn blocks(
    program: &Program,
    scratch: &[usize],
    lifetimes: &[(usize, usize)],
    roots: &[usize],
) -> Vec<Block> {
    let mut blocks: Vec<Block> = program
        .tensors
        .iter()
        .zip(lifetimes)
        .map(|(tensor, &(first, last))| Block {
            bytes: tensor.bytes(),
            first,
            last,
        })
        .collect();
    for (tensor, &root) in roots
        .iter()
        .enumerate()
        .filter(|&(tensor, &root)| tensor != root)
    {
        blocks[root].last = blocks[root].last.max(blocks[tensor].last);
        blocks[tensor].bytes = 0;
    }
    let steps = program.operators.iter().zip(scratch).enumerate();
    blocks.extend(steps.map(|(step, (op, &bytes))| Block {
        bytes: if op.kind.carries() { 0 } else { bytes },
        first: step,
        last: step,
    }));
    blocks
}
