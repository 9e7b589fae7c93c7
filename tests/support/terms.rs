//! How far an `f32` gradient may be from the meaning: element by element, by what it was added up from.
//!
//! An element `g` that is a sum of terms `t` may be off by `2e-4 |g| + 1e-6 sum |t|`: where terms cancel, the second part
//! counts; where they do not, the first. What the terms are follows from the graph, whose every float value gets a
//! companion: of a sum the sum of its operands' companions, of a product their product, of what moves or chooses
//! elements the same move or choice, of anything else its magnitude, to which `exp`, `sigmoid` and `tanh` add what their slope makes of the operand's
//! (a saturated probability is as wrong as the logit behind it).

use loopfm::interp::{self, Tensor};
use loopfm::ir::{Binary, Fold, Graph, Op, TypeError, Unary, Value};
use loopfm::tensor::{DType, Sizes, Tensors};

/// Of the gradient itself.
const REL: f64 = 2e-4;
/// Of the sum of its terms' magnitudes.
const OF_TERMS: f64 = 1e-6;

/// The graph with a second output `terms of NAME` for each float output `NAME`.
fn with_terms(g: &Graph) -> Result<Graph, TypeError> {
    let mut new = Graph::new();
    let mut map: Vec<(Value, Value)> = Vec::new();
    for (_, n) in g.iter() {
        let args: Vec<Value> = n.args.iter().map(|a| map[a.index()].0).collect();
        let terms: Vec<Value> = n.args.iter().map(|a| map[a.index()].1).collect();
        let y = new.declare(n.op.clone(), &args, n.ty.clone())?;
        let of_y = match &n.op {
            _ if n.ty.dtype != DType::F32 => y,
            Op::Binary(Binary::Add | Binary::Sub) => new.binary(Binary::Add, terms[0], terms[1])?,
            Op::Binary(Binary::Div) => {
                let divisor = new.unary(Unary::Abs, args[1])?;
                new.binary(Binary::Div, terms[0], divisor)?
            }
            Op::Binary(Binary::Max | Binary::Min) => {
                let first = new.binary(Binary::Eq, y, args[0])?;
                new.select(first, terms[0], terms[1])?
            }
            Op::Unary(Unary::Neg | Unary::Abs) => terms[0],
            // Indices and conditions are their own companions.
            Op::Binary(Binary::Mul) | Op::MatMul | Op::Reduce(Fold::Sum, _) | Op::CumSum(_) | Op::ScatterAdd(_) => {
                new.declare(n.op.clone(), &terms, n.ty.clone())?
            }
            Op::Select | Op::Broadcast | Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Concat(_) => {
                new.declare(n.op.clone(), &terms, n.ty.clone())?
            }
            Op::Gather(_) | Op::TakeAlong(_) | Op::Detach => new.declare(n.op.clone(), &terms, n.ty.clone())?,
            Op::Unary(op @ (Unary::Exp | Unary::Sigmoid | Unary::Tanh)) => {
                let slope = match op {
                    Unary::Exp => y,
                    _ => {
                        let one = new.constant_f32(1.0)?;
                        let square = new.binary(Binary::Mul, y, y)?;
                        let from = if *op == Unary::Tanh { one } else { y };
                        new.binary(Binary::Sub, from, square)?
                    }
                };
                let through = new.binary(Binary::Mul, slope, terms[0])?;
                // A masked score is infinite.
                let zero = new.constant_f32(0.0)?;
                let flat = new.binary(Binary::Eq, slope, zero)?;
                let through = new.select(flat, zero, through)?;
                let own = new.unary(Unary::Abs, y)?;
                new.binary(Binary::Add, own, through)?
            }
            _ => new.unary(Unary::Abs, y)?,
        };
        map.push((y, of_y));
    }
    for (name, v) in &g.outputs {
        let (y, terms) = map[v.index()];
        new.outputs.push((name.clone(), y));
        if g.ty(*v).dtype == DType::F32 {
            new.outputs.push((format!("terms of {name}"), terms));
        }
    }
    Ok(new)
}

/// Holds gradients, the outputs of a graph, to what they mean. The largest share of what is allowed that any element
/// takes.
pub(crate) fn compare_gradients(
    got: &Tensors,
    g: &Graph,
    (weights, batch, sizes): (&Tensors, &Tensors, Sizes),
) -> Result<f64, String> {
    let both = with_terms(g).map_err(|e| e.to_string())?;
    let wanted: Vec<Value> = both.outputs.iter().map(|(_, v)| *v).collect();
    let values = interp::eval_values::<f64>(&both, weights, batch, sizes, &wanted).map_err(|e| e.to_string())?;
    let known = |name: &str| -> Option<&Tensor<f64>> {
        let at = both.outputs.iter().position(|(n, _)| n == name)?;
        Some(&values[at])
    };
    let mut worst: f64 = 0.0;
    for (name, _) in &g.outputs {
        let Some((want, terms)) = known(name).zip(known(&format!("terms of {name}"))) else {
            continue;
        };
        let seen = got.get(name).and_then(|t| t.as_f32()).unwrap_or_default();
        if seen.len() != want.floats().len() {
            return Err(format!(
                "`{name}` has {} floats, not {}",
                seen.len(),
                want.floats().len()
            ));
        }
        for (at, (seen, want)) in seen.iter().zip(want.floats()).enumerate() {
            let allowed = REL * want.abs() + OF_TERMS * terms.floats()[at];
            let error = (f64::from(*seen) - want).abs();
            // A comparison with NaN is false.
            if error <= allowed {
                worst = worst.max(error / allowed.max(f64::MIN_POSITIVE));
            } else {
                return Err(format!(
                    "`{name}`, element {at}: {seen}, means {want}, may be off by {allowed:e}"
                ));
            }
        }
    }
    Ok(worst)
}
