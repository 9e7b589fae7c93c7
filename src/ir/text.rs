//! The exact text form, as it is written: [`parse`](fn@super::parse) reads it back, `parse(print(g)) == g`.
//!
//! One node a line: `%ID = OP(%a, %b) {key=value} : dtype[dims] @ "scope"`; leaves have no parentheses, inputs and
//! parameters carry their name, constants their value. The first line is `loopfm 1`, the last one
//! `return "name" = %ID, ...`.

use std::fmt;

use super::graph::Graph;
use super::op::Op;

pub(super) const HEADER: &str = "loopfm 1";

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        for (v, n) in self.iter() {
            write!(f, "{v} = {}", n.op.name())?;
            match &n.op {
                Op::Input(name) | Op::Param(name) => write!(f, " {}", quoted(name))?,
                Op::Const(c) => write!(f, " {c}")?,
                Op::Iota => {}
                op => {
                    let args: Vec<String> = n.args.iter().map(ToString::to_string).collect();
                    write!(f, "({}){}", args.join(", "), attributes(op))?;
                }
            }
            write!(f, " : {}", n.ty)?;
            match self.scope_of(v) {
                "" => writeln!(f)?,
                scope => writeln!(f, " @ {}", quoted(scope))?,
            }
        }
        let outputs: Vec<String> = self
            .outputs
            .iter()
            .map(|(n, v)| format!("{} = {v}", quoted(n)))
            .collect();
        writeln!(f, "return {}", outputs.join(", "))
    }
}

fn attributes(op: &Op) -> String {
    match op {
        Op::Permute(perm) => format!(" {{perm={perm:?}}}"),
        Op::Slice {
            axis,
            start,
            stop,
            step,
        } => format!(" {{axis={axis}, start={start}, stop={stop}, step={step}}}"),
        Op::Concat(axis) | Op::Gather(axis) | Op::TakeAlong(axis) | Op::CumSum(axis) | Op::ScatterAdd(axis) => {
            format!(" {{axis={axis}}}")
        }
        Op::Uniform(stream) => format!(" {{stream={stream}}}"),
        Op::Reduce(_, axes) => format!(" {{axes={axes:?}}}"),
        _ => String::new(),
    }
}

fn quoted(s: &str) -> String {
    serde_json::to_string(s).expect("a string is JSON")
}
