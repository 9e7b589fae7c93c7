//! Types of results, by the rule of each op. Verifying a graph is inferring it again.

use super::graph::{Graph, TensorType};
use super::op::Op;
use super::rules::{ensure, rule};

/// Operands that do not fit an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{op}` of ({}): {why}", seen.join(", "))]
pub struct TypeError {
    /// Name of the operation.
    pub op: &'static str,
    /// Types of its operands.
    pub seen: Vec<String>,
    /// The rule that is broken.
    pub why: String,
}

/// In one row of a value; indices on a device are 32-bit.
pub(super) const MOST_ELEMENTS: usize = 1 << 31;

/// The result type of `op` on operands of these types. Leaves, `cast`, `broadcast`, `reshape`, `uniform` and `scatter_add`
/// carry their type as `declared`; for all others a declared type must equal the inferred one.
///
/// # Errors
/// [`TypeError`] naming the rule that is broken.
pub fn infer(op: &Op, args: &[&TensorType], declared: Option<&TensorType>) -> Result<TensorType, TypeError> {
    declared
        .map_or(Ok(()), sound)
        .and_then(|()| rule(op, args, declared))
        .and_then(|ty| match declared {
            Some(d) if *d != ty => Err(format!("declared {d}, is {ty}")),
            _ => sound(&ty).map(|()| ty),
        })
        .map_err(|why| TypeError {
            op: op.name(),
            seen: args.iter().map(ToString::to_string).collect(),
            why,
        })
}

/// Checks every node of a graph against the typing rules.
///
/// # Errors
/// The first node that breaks a rule.
pub fn verify(g: &Graph) -> Result<(), TypeError> {
    for (_, n) in g.iter() {
        let args: Vec<&TensorType> = n.args.iter().map(|a| g.ty(*a)).collect();
        infer(&n.op, &args, Some(&n.ty))?;
    }
    Ok(())
}

/// No type has two symbolic extents, or more elements in a row than a device can number.
fn sound(ty: &TensorType) -> Result<(), String> {
    let dims = &ty.shape.0;
    let symbolic = dims.iter().filter(|d| d.is_symbolic()).count();
    ensure(symbolic <= 1, || format!("{ty} has more than one symbolic extent"))?;
    let count = dims.iter().try_fold(1_usize, |n, d| n.checked_mul(d.factor().max(1)));
    ensure(count.is_some_and(|n| n <= MOST_ELEMENTS), || {
        format!("{ty} has more than {MOST_ELEMENTS} elements")
    })
}
