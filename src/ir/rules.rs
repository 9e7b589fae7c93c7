//! Typing rules: the result type of every op.

use super::graph::TensorType;
use super::infer::MOST_ELEMENTS;
use super::op::{Fold, Op, Scalar, Unary};
use crate::tensor::{DType, Dim, Shape};

type Typed = Result<TensorType, String>;

pub(super) fn rule(op: &Op, args: &[&TensorType], declared: Option<&TensorType>) -> Typed {
    let arity = match op {
        Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Iota => 0,
        Op::Unary(_) | Op::Cast | Op::Detach | Op::Broadcast | Op::Reshape | Op::Permute(_) | Op::Slice { .. } => 1,
        Op::Uniform(_) | Op::Reduce(..) | Op::CumSum(_) => 1,
        Op::Binary(_) | Op::Gather(_) | Op::TakeAlong(_) | Op::MatMul | Op::ScatterAdd(_) => 2,
        Op::Select => 3,
        Op::Gru => args.len().clamp(4, 5),
        Op::GruGrad => args.len().clamp(6, 7),
        Op::Concat(_) => args.len().max(1),
    };
    ensure(args.len() == arity, || {
        format!("takes {arity} operands, got {}", args.len())
    })?;
    match op {
        Op::Input(_) => want(declared).cloned(),
        Op::Param(_) => {
            let ty = want(declared)?;
            ensure(ty.shape.symbolic().is_none(), || "a parameter has fixed extents".into())?;
            Ok(ty.clone())
        }
        Op::Const(c) => {
            let dtype = match c {
                Scalar::F32(_) => DType::F32,
                Scalar::I32(_) => DType::I32,
                Scalar::Bool(_) => DType::Bool,
            };
            Ok(TensorType::new(dtype, Shape::default()))
        }
        Op::Iota => {
            let ty = want(declared)?;
            let plain = ty.dtype == DType::I32 && ty.shape.rank() == 1 && ty.shape.symbolic().is_none();
            ensure(plain, || "is i32 of rank 1 and fixed extent".into())?;
            Ok(ty.clone())
        }
        Op::Unary(u) => {
            let ok = match u {
                Unary::Not => args[0].dtype == DType::Bool,
                Unary::Neg | Unary::Abs | Unary::Sign => args[0].dtype != DType::Bool,
                _ => args[0].dtype == DType::F32,
            };
            ensure(ok, || "has no meaning for this element type".into())?;
            Ok(args[0].clone())
        }
        Op::Binary(b) => {
            ensure(args[0] == args[1], || "operands must have one type and shape".into())?;
            let ok = b.compares() || (args[0].dtype == DType::Bool) == b.is_logic();
            ensure(ok, || "has no meaning for this element type".into())?;
            let dtype = if b.compares() { DType::Bool } else { args[0].dtype };
            Ok(TensorType::new(dtype, args[0].shape.clone()))
        }
        Op::Select => {
            ensure(args[0].dtype == DType::Bool, || {
                "the first operand is the condition".into()
            })?;
            let ok = args[1] == args[2] && args[0].shape == args[1].shape;
            ensure(ok, || "operands must have one shape, the choices one type".into())?;
            Ok(args[1].clone())
        }
        Op::Cast => {
            let ty = want(declared)?;
            ensure(ty.shape == args[0].shape, || format!("keeps the shape, declared {ty}"))?;
            Ok(ty.clone())
        }
        Op::Detach => Ok(args[0].clone()),
        Op::Broadcast => {
            let ty = want(declared)?;
            ensure(
                ty.dtype == args[0].dtype && broadcasts(&args[0].shape, &ty.shape),
                || format!("does not broadcast to {ty}"),
            )?;
            Ok(ty.clone())
        }
        Op::Reshape => {
            let ty = want(declared)?;
            let same = ty.dtype == args[0].dtype && volume(&args[0].shape) == volume(&ty.shape);
            ensure(same, || format!("does not hold the elements of {ty}"))?;
            Ok(ty.clone())
        }
        Op::Permute(perm) => {
            let dims = &args[0].shape.0;
            let mut seen = perm.clone();
            seen.sort_unstable();
            ensure(seen.iter().copied().eq(0..dims.len()), || {
                format!("{perm:?} is no permutation of its axes")
            })?;
            Ok(with(args[0], perm.iter().map(|&a| dims[a]).collect()))
        }
        Op::Slice {
            axis,
            start,
            stop,
            step,
        } => {
            let n = fixed(args[0], *axis)?;
            ensure(start < stop && *stop <= n && (1..=MOST_ELEMENTS).contains(step), || {
                format!("{start}..{stop} step {step} of {n}")
            })?;
            Ok(replaced(args[0], *axis, Dim::Fixed((stop - start).div_ceil(*step))))
        }
        Op::Concat(axis) => {
            let mut total = 0;
            for a in args {
                total += fixed(a, *axis)?;
                let alike = a.dtype == args[0].dtype
                    && replaced(a, *axis, Dim::Fixed(0)).shape == replaced(args[0], *axis, Dim::Fixed(0)).shape;
                ensure(alike, || "operands differ beyond the axis".into())?;
            }
            Ok(replaced(args[0], *axis, Dim::Fixed(total)))
        }
        Op::Gather(axis) => {
            axis_of(args[0], *axis)?;
            ensure(args[1].dtype == DType::I32, || "indices are i32".into())?;
            let mut dims = args[0].shape.0.clone();
            dims.splice(*axis..=*axis, args[1].shape.0.iter().copied());
            Ok(with(args[0], dims))
        }
        Op::TakeAlong(axis) => {
            fixed(args[0], *axis)?;
            let n = fixed(args[1], *axis)?;
            let fits = args[1].dtype == DType::I32 && replaced(args[0], *axis, Dim::Fixed(n)).shape == args[1].shape;
            ensure(fits, || "indices are i32 and differ in the axis alone".into())?;
            Ok(with(args[0], args[1].shape.0.clone()))
        }
        Op::Uniform(_) => {
            let ty = want(declared)?;
            ensure(*args[0] == TensorType::new(DType::I32, Shape::default()), || {
                "the seed is i32[]".into()
            })?;
            ensure(ty.dtype == DType::F32, || format!("gives floats, declared {ty}"))?;
            Ok(ty.clone())
        }
        Op::MatMul => matmul(args[0], args[1]),
        Op::Reduce(fold, axes) => {
            ensure(args[0].dtype != DType::Bool, || "folds numbers".into())?;
            ensure(!axes.is_empty() && axes.is_sorted_by(|a, b| a < b), || {
                format!("axes {axes:?} must ascend")
            })?;
            let mut ty = args[0].clone();
            for &a in axes {
                // A batch may be empty: its sum is 0, its largest element is none.
                let extent = match fold {
                    Fold::Sum => axis_of(args[0], a)?.factor(),
                    Fold::Max | Fold::Min => fixed(args[0], a)?,
                };
                ensure(extent > 0, || format!("axis {a} is empty"))?;
                ty = replaced(&ty, a, Dim::Fixed(1));
            }
            Ok(ty)
        }
        Op::CumSum(axis) => {
            ensure(args[0].dtype != DType::Bool, || "sums numbers".into())?;
            fixed(args[0], *axis)?;
            Ok(args[0].clone())
        }
        Op::ScatterAdd(axis) => scatter_add(args[0], args[1], *axis, want(declared)?),
        Op::Gru => gru(args),
        Op::GruGrad => gru_grad(args),
    }
}

fn scatter_add(u: &TensorType, index: &TensorType, axis: usize, ty: &TensorType) -> Typed {
    ensure(u.dtype == DType::F32 && ty.dtype == DType::F32, || "adds floats".into())?;
    ensure(index.dtype == DType::I32, || "indices are i32".into())?;
    axis_of(ty, axis)?;
    let mut dims = ty.shape.0.clone();
    dims.splice(axis..=axis, index.shape.0.iter().copied());
    ensure(u.shape.0 == dims, || format!("adds {} to {ty}", Shape(dims)))?;
    Ok(ty.clone())
}

fn matmul(a: &TensorType, b: &TensorType) -> Typed {
    let (p, q) = (a.shape.rank(), b.shape.rank());
    ensure(a.dtype == DType::F32 && b.dtype == DType::F32, || {
        "multiplies floats".into()
    })?;
    ensure(p >= 2 && (q == p || q == 2), || {
        "ranks must agree, or the second be 2".into()
    })?;
    // Rows, where both have them inside: a sum over rows.
    let (k, l) = (a.shape.0[p - 1], b.shape.0[q - 2]);
    ensure(k == l, || format!("inner extents {k} and {l} differ"))?;
    ensure(q == 2 || a.shape.0[..p - 2] == b.shape.0[..p - 2], || {
        "leading extents differ".into()
    })?;
    Ok(replaced(a, p - 1, b.shape.0[q - 1]))
}

fn gru(args: &[&TensorType]) -> Typed {
    let [x, h0, w, b, ref attention @ ..] = *args else {
        unreachable!("arity is checked")
    };
    ensure(args.iter().all(|a| a.dtype == DType::F32), || "works on floats".into())?;
    ensure(x.shape.rank() >= 2, || "the first operand is [.., T, 3H]".into())?;
    let r = x.shape.rank();
    let gates = fixed(x, r - 1)?;
    fixed(x, r - 2)?;
    ensure(gates % 3 == 0, || format!("{gates} is not three gates"))?;
    let h = Dim::Fixed(gates / 3);
    let mut state = x.shape.0[..r - 2].to_vec();
    state.push(h);
    ensure(h0.shape.0 == state, || {
        format!("the first state is {}", Shape(state.clone()))
    })?;
    ensure(w.shape == Shape::fixed(&[gates / 3, gates]), || {
        "the weight is [H, 3H]".into()
    })?;
    ensure(b.shape == Shape::fixed(&[gates]), || "the bias is [3H]".into())?;
    ensure(attention.iter().all(|a| a.shape.0 == x.shape.0[..r - 1]), || {
        format!("the attention is {}", Shape(x.shape.0[..r - 1].to_vec()))
    })?;
    Ok(replaced(x, r - 1, h))
}

fn gru_grad(args: &[&TensorType]) -> Typed {
    let (forward, states) = args.split_at(args.len() - 2);
    let hs = gru(forward)?;
    ensure(states.iter().all(|s| **s == hs), || {
        format!("states and their gradient are {hs}")
    })?;
    let last = hs.shape.rank() - 1;
    let attention = forward.len() - 4;
    Ok(replaced(
        &hs,
        last,
        Dim::Fixed(5 * hs.shape.0[last].factor() + attention),
    ))
}

pub(super) fn ensure(ok: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if ok { Ok(()) } else { Err(why()) }
}

fn want(declared: Option<&TensorType>) -> Result<&TensorType, String> {
    declared.ok_or_else(|| "needs a declared type".into())
}

fn axis_of(ty: &TensorType, axis: usize) -> Result<Dim, String> {
    ty.shape
        .0
        .get(axis)
        .copied()
        .ok_or_else(|| format!("{ty} has no axis {axis}"))
}

fn fixed(ty: &TensorType, axis: usize) -> Result<usize, String> {
    match axis_of(ty, axis)? {
        Dim::Fixed(n) => Ok(n),
        d => Err(format!("axis {axis} of {ty} is {d}: rows must stay apart")),
    }
}

fn with(ty: &TensorType, dims: Vec<Dim>) -> TensorType {
    TensorType::new(ty.dtype, Shape(dims))
}

fn replaced(ty: &TensorType, axis: usize, dim: Dim) -> TensorType {
    let mut dims = ty.shape.0.clone();
    dims[axis] = dim;
    with(ty, dims)
}

fn broadcasts(from: &Shape, to: &Shape) -> bool {
    let Some(lead) = to.rank().checked_sub(from.rank()) else {
        return false;
    };
    from.0
        .iter()
        .zip(&to.0[lead..])
        .all(|(f, t)| *f == Dim::Fixed(1) || f == t)
}

/// Product of the extents, with the kind of the symbolic one.
fn volume(shape: &Shape) -> (usize, Option<Dim>) {
    let n = shape.0.iter().map(|d| d.factor()).product();
    (n, shape.symbolic().map(|(_, d)| d.with_factor(1)))
}
