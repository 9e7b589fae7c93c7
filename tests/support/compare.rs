//! Comparison of results, with the worst element in the message.

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
    let exact = got.as_f32().is_none();
    let allowed = |want: f64| {
        if exact {
            0.0
        } else {
            tol.abs + tol.rel * want.abs() + tol.of_max * largest
        }
    };
    worst(&g, &w, allowed).map_or(Ok(()), |(at, excess)| {
        let place = coordinates(at, &want.shape);
        let (got, want) = (g[at], w[at]);
        Err(format!(
            "at {place:?}: got {got:?}, want {want:?}, differs by {:e}, allowed {:e} ({excess} elements beyond it)",
            (got - want).abs(),
            allowed(want)
        ))
    })
}

/// Position of the element furthest beyond what is allowed, and how many are.
fn worst(got: &[f64], want: &[f64], allowed: impl Fn(f64) -> f64) -> Option<(usize, usize)> {
    let beyond = |(i, (g, w)): (usize, (&f64, &f64))| {
        let same = g == w || (g.is_nan() && w.is_nan());
        let excess = if same {
            f64::NEG_INFINITY
        } else {
            (g - w).abs() - allowed(*w)
        };
        let excess = if excess.is_nan() { f64::INFINITY } else { excess };
        (excess > 0.0).then_some((i, excess))
    };
    let all: Vec<(usize, f64)> = got.iter().zip(want).enumerate().filter_map(beyond).collect();
    let (at, _) = all.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((at, all.len()))
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
