//! How a batch is cut into blocks.

use super::lower::lower;
use super::plan::{Crossing, Plan, Stage, Wanted};
use crate::ir::Op;
use crate::tensor::Sizes;

/// Consecutive rows (or requests) that one thread computes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) crossing: Crossing,
    /// Where the block starts in request values: the request of its first row, unless rows look their request up.
    pub(super) request: usize,
}

/// Words of working memory that a block may take: what a second cache holds beside the weights passing through.
const BUDGET: usize = 1 << 18;
/// The same where weights are more than that: they pass through once a block, from the third cache or from memory, and
/// `gemm` arranges them anew each time. So there are few blocks, whose values the third cache holds.
const HEAVY_BUDGET: usize = 4 * BUDGET;
/// Rows beyond which a larger block gains nothing.
const MOST: usize = 256;
/// Rows below which a block costs more than a second thread gains.
const LEAST: usize = 16;

/// Groups of blocks whose sums over rows are computed side by side.
const GROUPS: usize = 8;

impl Block {
    /// All rows of a batch at once.
    pub(super) fn whole(rows: usize) -> Self {
        Self {
            start: 0,
            len: rows,
            crossing: Crossing::Any,
            request: 0,
        }
    }
}

/// The largest block of a stage whose working memory is within budget.
pub(super) fn block_size(plan: &Plan, stage: Stage, wanted: &[Wanted]) -> usize {
    let probe = 16;
    let per_row = lower(plan, stage, probe, Crossing::Any, wanted).arena.div_ceil(probe);
    let budget = if weights(plan, stage) > BUDGET {
        HEAVY_BUDGET
    } else {
        BUDGET
    };
    (budget / per_row.max(1)).clamp(1, MOST)
}

/// Words of weights that the products of a stage read.
fn weights(plan: &Plan, stage: Stage) -> usize {
    let of_stage = plan.nodes().filter(|(v, _)| plan.stages[v.index()] == Some(stage));
    let products = of_stage.filter(|(_, n)| n.op == Op::MatMul).map(|(_, n)| n.args[1]);
    let constant = products.filter(|b| plan.stages[b.index()] == Some(Stage::CONSTANT));
    constant.map(|b| plan.graph.shape(b).numel(Sizes::ONE)).sum()
}

/// Cuts `total` rows into blocks of nearly equal length, enough of them for all threads.
pub(super) fn cut(total: usize, most: usize, request_of_row: Option<&[u32]>) -> Vec<Block> {
    let for_threads = rayon::current_num_threads().min(total.div_ceil(LEAST));
    let count = total.div_ceil(most).max(for_threads);
    let mut len = total.div_ceil(count);
    if len > 8 {
        // Few different lengths, hence few programs, whatever batches come.
        len = len.next_multiple_of(8).min(most.max(8));
    }
    blocks(total, len, request_of_row)
}

/// Cuts `total` rows into blocks and says how many of them make a group. Neither depends on the number of threads.
pub(super) fn cut_evenly(total: usize, most: usize, request_of_row: Option<&[u32]>) -> (Vec<Block>, usize) {
    let group = total.div_ceil(GROUPS).max(LEAST);
    let per_group = group.div_ceil(most);
    let blocks = blocks(total, group.div_ceil(per_group), request_of_row);
    (blocks, per_group)
}

fn blocks(total: usize, len: usize, request_of_row: Option<&[u32]>) -> Vec<Block> {
    let block = |start: usize| {
        let len = len.min(total - start);
        let (crossing, request) = match request_of_row {
            Some(map) => crossing(&map[start..start + len]),
            None => (Crossing::Any, 0),
        };
        Block {
            start,
            len,
            crossing,
            request,
        }
    };
    (0..total).step_by(len).map(block).collect()
}

fn crossing(requests: &[u32]) -> (Crossing, usize) {
    let first = requests.first().copied().unwrap_or(0);
    let crossing = if requests.iter().all(|r| *r == first) {
        Crossing::One
    } else if requests.iter().zip(first..).all(|(r, expected)| *r == expected) {
        Crossing::Consecutive
    } else {
        return (Crossing::Any, 0);
    };
    (crossing, usize::try_from(first).unwrap_or(0))
}

/// The pieces of a tensor that belong to each block: one for every index before the rows.
pub(super) fn pieces<'a>(
    words: &'a mut [u32],
    before: usize,
    blocks: &[Block],
    total: usize,
) -> Vec<Vec<&'a mut [u32]>> {
    let mut pieces: Vec<Vec<&mut [u32]>> = blocks.iter().map(|_| Vec::new()).collect();
    let row = words.len() / (before * total).max(1);
    if row == 0 {
        return pieces;
    }
    for leading in words.chunks_exact_mut(row * total) {
        let mut rest = leading;
        for (block, pieces) in blocks.iter().zip(&mut pieces) {
            let (piece, after) = rest.split_at_mut(block.len * row);
            pieces.push(piece);
            rest = after;
        }
    }
    pieces
}
