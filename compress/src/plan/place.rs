//! Where blocks of memory go: a first-fit placement, and a search for the order that packs best.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::ops::Range;

/// Memory needed from step `first` to step `last`, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) bytes: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Blocks and which of them may overlap.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    /// For an input and an output of one operator: how far the first must begin behind the second for
    /// the two to overlap.
    pub(super) clearances: HashMap<(usize, usize), usize>,
}

/// A size and the start of each block.
type Placed = (usize, Vec<usize>);

/// A key by which blocks are placed, smallest first.
type Order = fn(&Block) -> (usize, usize);

/// Largest number of blocks all of whose orders are tried.
const EXHAUSTIVE: usize = 7;

/// Placements tried beyond that, times the number of blocks squared.
const EFFORT: usize = 4_000_000;

impl Blocks {
    /// Blocks in several orders (largest first, by birth, by death), each at the lowest free place,
    /// then better orders found by a search; the smallest arena wins.
    pub(super) fn place(&self) -> Placed {
        let queue: Vec<usize> = (0..self.blocks.len())
            .filter(|&b| self.blocks[b].bytes > 0)
            .collect();
        let orders: [Order; 4] = [
            |b| (usize::MAX - b.bytes, b.first),
            |b| (b.first, usize::MAX - b.bytes),
            |b| (usize::MAX - b.last, usize::MAX - b.bytes),
            |b| (usize::MAX - (b.last - b.first), usize::MAX - b.bytes),
        ];
        let sorted = orders.into_iter().map(|order| {
            let mut queue = queue.clone();
            queue.sort_by_key(|&b| order(&self.blocks[b]));
            queue
        });
        let tried = sorted.map(|queue| (self.first_fit(&queue), queue));
        let best = tried.min_by_key(|((arena, _), _)| *arena);
        let Some((placed, queue)) = best else {
            return Placed::default();
        };
        if placed.0 == self.least() {
            return placed;
        }
        if queue.len() <= EXHAUSTIVE {
            self.every_order(queue, placed)
        } else {
            self.search(queue, placed)
        }
    }

    /// What no placement goes below: the largest sum of what is live at once, where nothing overlaps.
    fn least(&self) -> usize {
        let live = |step: usize| {
            let there = |b: &&Block| (b.first..=b.last).contains(&step);
            self.blocks.iter().filter(there).map(|b| b.bytes).sum()
        };
        let steps = self.blocks.iter().map(|b| b.last).max().unwrap_or(0);
        if self.clearances.is_empty() {
            (0..=steps).map(live).max().unwrap_or(0)
        } else {
            self.blocks.iter().map(|b| b.bytes).max().unwrap_or(0)
        }
    }

    /// Heap's algorithm.
    fn every_order(&self, mut queue: Vec<usize>, mut best: Placed) -> Placed {
        let mut counts = vec![0; queue.len()];
        let mut at = 0;
        while at < queue.len() {
            if counts[at] < at {
                queue.swap(if at % 2 == 0 { 0 } else { counts[at] }, at);
                best = better(best, self.first_fit(&queue));
                counts[at] += 1;
                at = 0;
            } else {
                counts[at] = 0;
                at += 1;
            }
        }
        best
    }

    /// Exchanges two blocks of the order as long as that makes nothing worse; now and then begins
    /// anew from another order. Seeded: the same network has the same plan.
    fn search(&self, start: Vec<usize>, mut best: Placed) -> Placed {
        let mut rng = ChaCha8Rng::seed_from_u64(start.len() as u64);
        let tries = EFFORT / (start.len() * start.len());
        let (mut queue, mut arena) = (start, best.0);
        for i in 1..=tries {
            let before = queue.clone();
            if i % (tries / 8).max(1) == 0 {
                queue.shuffle(&mut rng);
                arena = usize::MAX;
            } else {
                let (a, b) = (
                    rng.random_range(0..queue.len()),
                    rng.random_range(0..queue.len()),
                );
                let moved = queue.remove(a);
                queue.insert(b, moved);
            }
            let placed = self.first_fit(&queue);
            if placed.0 > arena {
                queue = before;
                continue;
            }
            arena = placed.0;
            best = better(best, placed);
        }
        best
    }

    /// Each block at the lowest place that those before it leave free.
    fn first_fit(&self, queue: &[usize]) -> Placed {
        let mut offsets = vec![0; self.blocks.len()];
        let mut arena = 0;
        for (done, &block) in queue.iter().enumerate() {
            let mut forbidden: Vec<Range<usize>> = queue[..done]
                .iter()
                .filter_map(|&other| self.forbidden(block, other, offsets[other]))
                .collect();
            forbidden.sort_unstable_by_key(|range| range.start);
            let mut start = 0;
            for range in forbidden {
                if range.contains(&start) {
                    start = range.end;
                }
            }
            offsets[block] = start;
            arena = arena.max(start + self.blocks[block].bytes);
        }
        (arena, offsets)
    }

    /// Where a block cannot begin because another stands at `at`.
    fn forbidden(&self, block: usize, other: usize, at: usize) -> Option<Range<usize>> {
        let (own, there) = (&self.blocks[block], &self.blocks[other]);
        if own.first > there.last || there.first > own.last {
            return None;
        }
        let clearance = |input, output| self.clearances.get(&(input, output)).copied();
        let before = clearance(other, block).unwrap_or(usize::MAX).min(own.bytes);
        let behind = clearance(block, other)
            .unwrap_or(usize::MAX)
            .min(there.bytes);
        Some((at + 1).saturating_sub(before)..at + behind)
    }
}

fn better(best: Placed, new: Placed) -> Placed {
    if new.0 < best.0 { new } else { best }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(list: &[(usize, usize, usize)]) -> Blocks {
        let block = |&(bytes, first, last): &(usize, usize, usize)| Block { bytes, first, last };
        Blocks {
            blocks: list.iter().map(block).collect(),
            clearances: HashMap::new(),
        }
    }

    fn apart(blocks: &Blocks, offsets: &[usize]) {
        for (a, x) in blocks.blocks.iter().enumerate() {
            for (b, y) in blocks.blocks.iter().enumerate().skip(a + 1) {
                let together = x.first <= y.last && y.first <= x.last;
                let overlap =
                    offsets[a] < offsets[b] + y.bytes && offsets[b] < offsets[a] + x.bytes;
                assert!(
                    !(together && overlap),
                    "{x:?} at {} and {y:?} at {}",
                    offsets[a],
                    offsets[b]
                );
            }
        }
    }

    /// Four blocks of which largest first, by birth and by death each leave a hole.
    #[test]
    fn a_search_reaches_the_live_peak() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut reached = 0;
        for _ in 0..40 {
            let list: Vec<(usize, usize, usize)> = (0..7)
                .map(|step| (rng.random_range(1..50), step, step + rng.random_range(1..4)))
                .collect();
            let blocks = blocks(&list);
            let (arena, offsets) = blocks.place();
            apart(&blocks, &offsets);
            assert!(arena >= blocks.least());
            reached += usize::from(arena == blocks.least());
        }
        assert!(reached > 35, "{reached} of 40");
    }

    #[test]
    fn an_output_moves_into_its_input_up_to_the_clearance() {
        let mut chain = blocks(&[(100, 0, 0), (100, 0, 1), (60, 1, 1)]);
        assert_eq!(chain.place().0, 200);
        chain.clearances = HashMap::from([((0, 1), 10), ((1, 2), 5)]);
        let (arena, offsets) = chain.place();
        assert_eq!(arena, 115);
        assert!(offsets[0] >= offsets[1] + 10 && offsets[1] >= offsets[2] + 5);
    }
}
