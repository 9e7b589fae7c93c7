//! Comparison of results, with the worst element in the message.

use indexmap::IndexMap;
use loopfm::interp::{Bound, Elements};
use loopfm::tensor::{Data, HostTensor, Tensors};

/// How far a float may be from the wanted one; integers and truth values must be equal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tol {
    /// Absolutely.
    pub(crate) abs: f64,
    /// Times the wanted magnitude.
    pub(crate) rel: f64,
    /// Times the largest wanted magnitude of the tensor.
    pub(crate) of_max: f64,
}

/// Compares one tensor.
pub(crate) fn close(got: &HostTensor, want: &HostTensor, tol: Tol) -> Result<(), String> {
    if got.shape != want.shape || got.dtype() != want.dtype() {
        let ty = |t: &HostTensor| format!("{}{:?}", t.dtype(), t.shape);
        return Err(format!("got {}, want {}", ty(got), ty(want)));
    }
    let (g, w) = (numbers(got), numbers(want));
    let largest = w.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
    let allowed = |i: usize| match want.data {
        Data::F32(_) => tol.abs + tol.rel * w[i].abs() + tol.of_max * largest,
        Data::I32(_) | Data::Bool(_) => 0.0,
    };
    no_worse(&g, &w, &want.shape, allowed)
}

/// Position of the element furthest beyond what is allowed, and how many are beyond it.
fn worst(got: &[f64], want: &[f64], allowed: impl Fn(usize) -> f64) -> Option<(usize, usize)> {
    let beyond = |(i, (g, w)): (usize, (&f64, &f64))| {
        let same = g == w || (g.is_nan() && w.is_nan());
        let excess = if same {
            f64::NEG_INFINITY
        } else {
            (g - w).abs() - allowed(i)
        };
        let excess = if excess.is_nan() { f64::INFINITY } else { excess };
        (excess > 0.0).then_some((i, excess))
    };
    let all: Vec<(usize, f64)> = got.iter().zip(want).enumerate().filter_map(beyond).collect();
    let (at, _) = all.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((at, all.len()))
}

fn no_worse(got: &[f64], want: &[f64], shape: &[usize], allowed: impl Fn(usize) -> f64) -> Result<(), String> {
    let Some((at, count)) = worst(got, want, &allowed) else {
        return Ok(());
    };
    Err(format!(
        "at {:?}: got {:?}, want {:?}, differs by {:e}, allowed {:e} ({count} of {} elements are beyond)",
        coordinates(at, shape),
        got[at],
        want[at],
        (got[at] - want[at]).abs(),
        allowed(at),
        want.len()
    ))
}

/// Compares outputs with their meanings, each element within its own bound.
pub(crate) fn within(got: &Tensors, bounds: &IndexMap<String, Bound>) -> Result<(), String> {
    let check = |(name, bound): (&String, &Bound)| {
        let got = got.get(name).ok_or("is missing")?;
        let want = bound.meaning.to_host();
        if got.shape != want.shape || got.dtype() != want.dtype() {
            return Err(format!("is {}{:?}", got.dtype(), got.shape));
        }
        let exact = match &bound.meaning.data {
            Elements::Float(x) => x.clone(),
            Elements::Int(_) | Elements::Bool(_) => numbers(&want),
        };
        no_worse(&numbers(got), &exact, &want.shape, |i| bound.allowed[i])
    };
    let fault = |output| check(output).err().map(|e| format!("`{}` {e}", output.0));
    let faults: Vec<String> = bounds.iter().filter_map(fault).collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

/// Compares outputs by name; both sides must have the same names.
pub(crate) fn compare_outputs(got: &Tensors, want: &Tensors, tol: Tol) -> Result<(), String> {
    let names = |t: &Tensors| {
        let mut names: Vec<String> = t.keys().cloned().collect();
        names.sort();
        names
    };
    if names(got) != names(want) {
        return Err(format!("outputs {:?}, want {:?}", names(got), names(want)));
    }
    let faults: Vec<String> = want
        .iter()
        .filter_map(|(name, want)| close(&got[name], want, tol).err().map(|e| format!("`{name}` {e}")))
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

/// Any elements as numbers.
pub(crate) fn numbers(t: &HostTensor) -> Vec<f64> {
    match &t.data {
        Data::F32(x) => x.iter().map(|x| f64::from(*x)).collect(),
        Data::I32(x) => x.iter().map(|x| f64::from(*x)).collect(),
        Data::Bool(x) => x.iter().map(|x| f64::from(u8::from(*x))).collect(),
    }
}

pub(crate) fn coordinates(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut place: Vec<usize> = shape
        .iter()
        .rev()
        .map(|n| {
            let i = at % n;
            at /= n;
            i
        })
        .collect();
    place.reverse();
    place
}
