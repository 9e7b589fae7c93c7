//! Buffers and kernels of a step beside those of its row part.

use super::matrices::Tiles;
use super::updates::Update;
use crate::run::{Memory, Tail, Use};

/// Buffers of the step's own, numbered as they come.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// What each is, its words, and what it holds at first.
    pub(super) list: Vec<(&'static str, usize, Vec<u32>)>,
}

impl Buffers {
    /// Zeros.
    pub(super) fn room(&mut self, label: &'static str, words: usize) -> Memory {
        self.list.push((label, words, Vec::new()));
        Memory::Own(self.list.len() - 1)
    }

    /// What never changes.
    pub(super) fn fixed(&mut self, label: &'static str, words: Vec<u32>) -> Memory {
        self.list.push((label, words.len(), words));
        Memory::Own(self.list.len() - 1)
    }
}

/// Memory that several kernels of a step share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// Whether the adapter runs on processor cores, by lanes.
    pub(super) software: bool,
    pub(super) given: Memory,
    pub(super) jobs: Memory,
    pub(super) partial: Memory,
    pub(super) segments: Memory,
    pub(super) terms: Memory,
    pub(super) counts: Memory,
    pub(super) gradient: Memory,
    pub(super) squares: Memory,
    pub(super) ranges: Memory,
    pub(super) numbers: Memory,
    /// Trained tensors that no row reads.
    pub(super) kept: Memory,
    pub(super) states: Vec<Memory>,
}

fn tail(name: &str, wgsl: &str, bindings: Vec<(Memory, Use)>, groups: usize) -> Tail {
    Tail {
        name: name.to_owned(),
        wgsl: wgsl.to_owned(),
        bindings,
        groups,
        after: usize::MAX,
    }
}

impl Shared {
    /// Sums of the tiles in `tasks`, once so many kernels of the row part have run.
    pub(super) fn sums(&self, kind: Tiles, tasks: Memory, groups: usize, after: usize) -> Tail {
        let bindings = vec![
            (Memory::Sizes, Use::Uniform),
            (self.jobs, Use::Records),
            (tasks, Use::Read),
            (Memory::Values, Use::Read),
            (self.partial, Use::Write),
        ];
        Tail {
            after,
            ..tail("sums", &kind.text(), bindings, groups)
        }
    }

    /// Adds up the parts of sums, into gradients or into what rows wait for.
    pub(super) fn combine(&self, stretches: Memory, into: Memory, groups: usize, after: usize) -> Tail {
        let bindings = vec![
            (stretches, Use::Records),
            (self.partial, Use::Read),
            (into, Use::Write),
            (self.squares, Use::Write),
        ];
        Tail {
            after,
            ..tail("combine", include_str!("../../shaders/combine.wgsl"), bindings, groups)
        }
    }

    /// Values made of trained tensors, before anything else.
    pub(super) fn made(&self, lines: Memory, runs: Memory, groups: usize) -> Tail {
        let bindings = vec![
            (lines, Use::Records),
            (runs, Use::Records),
            (self.kept, Use::Read),
            (Memory::Weights, Use::Write),
        ];
        Tail {
            after: 0,
            ..tail("made", include_str!("../../shaders/made.wgsl"), bindings, groups)
        }
    }

    /// Rows of gradients of tables.
    pub(super) fn segments(&self) -> Tail {
        let bindings = vec![
            (self.segments, Use::Records),
            (self.terms, Use::Read),
            (self.counts, Use::Read),
            (Memory::Values, Use::Read),
            (self.partial, Use::Write),
            (self.squares, Use::Write),
        ];
        let text = include_str!("../../shaders/segments.wgsl");
        // Idle lanes cost a software adapter as much as busy ones, and rows of tables are short.
        let text = match self.software {
            true => text.replace("const THREADS = 64u", "const THREADS = 16u"),
            false => text.to_owned(),
        };
        tail("segments", &text, bindings, 0)
    }

    pub(super) fn numbers(&self, text: &str) -> Tail {
        let bindings = vec![
            (self.given, Use::Read),
            (self.gradient, Use::Read),
            (self.squares, Use::Read),
            (self.ranges, Use::Read),
            (Memory::Status, Use::Read),
            (self.numbers, Use::Write),
        ];
        tail("numbers", text, bindings, 1)
    }

    /// An update of tensors in this memory by gradients in that, by a kernel of this text.
    pub(super) fn update(
        &self,
        update: &Update,
        text: String,
        (spans, gradient, of): (Memory, Memory, Memory),
        groups: usize,
    ) -> Tail {
        let mut bindings = vec![
            (spans, Use::Records),
            (gradient, Use::Read),
            (self.numbers, Use::Read),
            (of, Use::Write),
        ];
        if update.touched {
            bindings.push((self.counts, Use::Read));
        }
        let states = self.states.iter().take(update.by_row.len());
        bindings.extend(states.map(|memory| (*memory, Use::Write)));
        tail("update", &text, bindings, groups)
    }
}
