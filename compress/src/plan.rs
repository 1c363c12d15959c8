//! The arena: where each activation and each operator's scratch stands, decided on the host.

use crate::program::{Operator, Program};

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

/// Memory needed from step `first` to step `last`, both included.
#[derive(Clone, Copy, Debug)]
struct Block {
    bytes: usize,
    first: usize,
    last: usize,
}

/// A key by which blocks are placed, smallest first.
type Order = fn(&Block) -> (usize, usize);

/// Places tensors and scratch: blocks in several orders (largest first, by birth, by death), each in
/// the tightest gap left by those already placed whose lifetimes overlap; the smallest arena wins.
pub fn plan(program: &Program, scratch: &[usize]) -> ArenaPlan {
    let lifetimes = lifetimes(program);
    let merged = in_place_roots(program, &lifetimes);
    let blocks = blocks(program, scratch, &lifetimes, &merged);
    let orders: [Order; 4] = [
        |b| (usize::MAX - b.bytes, b.first),
        |b| (b.first, usize::MAX - b.bytes),
        |b| (usize::MAX - b.last, usize::MAX - b.bytes),
        |b| (usize::MAX - (b.last - b.first), usize::MAX - b.bytes),
    ];
    let placed = orders
        .into_iter()
        .map(|order| place(&blocks, order))
        .min_by_key(|(arena, _)| *arena);
    let (mut arena_bytes, mut offsets) = placed.unwrap_or_default();
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
    let shape = |tensor: usize| program.tensors[tensor].shape;
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
            bytes: tensor.shape.len(),
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

fn place(blocks: &[Block], order: Order) -> (usize, Vec<usize>) {
    let mut queue: Vec<usize> = (0..blocks.len()).filter(|&b| blocks[b].bytes > 0).collect();
    queue.sort_by_key(|&b| order(&blocks[b]));
    let mut offsets = vec![0; blocks.len()];
    let mut done: Vec<usize> = Vec::new();
    let mut arena = 0;
    for block in queue {
        let overlaps = |&&other: &&usize| {
            blocks[other].first <= blocks[block].last && blocks[block].first <= blocks[other].last
        };
        let mut taken: Vec<(usize, usize)> = done
            .iter()
            .filter(overlaps)
            .map(|&other| (offsets[other], offsets[other] + blocks[other].bytes))
            .collect();
        taken.sort_unstable();
        offsets[block] = tightest_gap(&taken, blocks[block].bytes);
        arena = arena.max(offsets[block] + blocks[block].bytes);
        done.push(block);
    }
    (arena, offsets)
}

/// Start of the smallest gap between taken ranges that holds `bytes`, or the end of the last.
fn tightest_gap(taken: &[(usize, usize)], bytes: usize) -> usize {
    let mut end = 0;
    let mut best: Option<(usize, usize)> = None;
    for &(start, stop) in taken {
        let gap = start.saturating_sub(end);
        if gap >= bytes && best.is_none_or(|(size, _)| gap < size) {
            best = Some((gap, end));
        }
        end = end.max(stop);
    }
    best.map_or(end, |(_, start)| start)
}
