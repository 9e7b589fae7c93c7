//! Buffers and kernels of a step beside those of its row part.

use super::texts::update;
use crate::run::{Memory, Tail, Use};
use crate::wgsl::Statements;

/// Buffers of a step, by number.
pub(super) const GIVEN: usize = 0;
pub(super) const JOBS: usize = 1;
pub(super) const TASKS: usize = 2;
pub(super) const PARTIAL: usize = 3;
pub(super) const SEGMENTS: usize = 4;
pub(super) const TERMS: usize = 5;
pub(super) const STRETCHES: usize = 6;
pub(super) const GRADIENT: usize = 7;
pub(super) const SQUARES: usize = 8;
pub(super) const RANGES: usize = 9;
pub(super) const NUMBERS: usize = 10;
pub(super) const STATES: usize = 11;

/// Kernels that every step has.
pub(super) fn fixed(tasks: &[u32], stretches: usize, numbers: String) -> Vec<Tail> {
    let own = Memory::Own;
    let kernel = |name: &str, wgsl: String, bindings: &[(Memory, Use)], groups| Tail {
        name: name.to_owned(),
        wgsl,
        bindings: bindings.to_vec(),
        groups,
    };
    vec![
        kernel(
            "sums",
            include_str!("../../shaders/sums.wgsl").to_owned(),
            &[
                (Memory::Sizes, Use::Uniform),
                (own(JOBS), Use::Records),
                (own(TASKS), Use::Read),
                (Memory::Values, Use::Read),
                (own(PARTIAL), Use::Write),
            ],
            tasks.len() / 4,
        ),
        kernel(
            "segments",
            include_str!("../../shaders/segments.wgsl").to_owned(),
            &[
                (own(SEGMENTS), Use::Records),
                (own(TERMS), Use::Read),
                (Memory::Values, Use::Read),
                (own(PARTIAL), Use::Write),
            ],
            0,
        ),
        kernel(
            "combine",
            include_str!("../../shaders/combine.wgsl").to_owned(),
            &[
                (own(STRETCHES), Use::Records),
                (own(PARTIAL), Use::Read),
                (own(GRADIENT), Use::Write),
                (own(SQUARES), Use::Write),
            ],
            stretches,
        ),
        kernel(
            "numbers",
            numbers,
            &[
                (own(GIVEN), Use::Read),
                (own(GRADIENT), Use::Read),
                (own(SQUARES), Use::Read),
                (own(RANGES), Use::Read),
                (Memory::Status, Use::Read),
                (own(NUMBERS), Use::Write),
            ],
            1,
        ),
    ]
}

/// The kernel of an update.
pub(super) fn updating(statements: &Statements, states: usize, stretches: usize, groups: usize) -> Tail {
    let own = Memory::Own;
    let mut bindings = vec![
        (own(stretches), Use::Records),
        (own(GRADIENT), Use::Read),
        (own(NUMBERS), Use::Read),
        (Memory::Weights, Use::Write),
    ];
    bindings.extend((0..states).map(|i| (own(STATES + i), Use::Write)));
    Tail {
        name: "update".to_owned(),
        wgsl: update(statements, states),
        bindings,
        groups,
    }
}
